import java.sql.*;
import java.util.ArrayList;
import java.util.List;

/** PostgreSQL's JDBC driver against a server: URL, and the schema of a source with the tables customer and orders. */
public class Jdbc {
    public static void main(String[] arguments) throws SQLException {
        String source = arguments[1];
        try (Connection connection = DriverManager.getConnection(arguments[0], "ana", "")) {
            try (Statement statement = connection.createStatement();
                 ResultSet row = statement.executeQuery(
                     "SELECT 7, 'ü', DATE '2024-02-29', CAST(1.50 AS DECIMAL(10,2)), TIMESTAMPTZ '2024-07-01 12:00:00+00', true, CAST('2.5' AS DOUBLE)")) {
                row.next();
                System.out.println(row.getLong(1) + " " + row.getString(2) + " " + row.getDate(3) + " " + row.getBigDecimal(4) + " "
                    + row.getTimestamp(5).toInstant() + " " + row.getBoolean(6) + " " + row.getDouble(7));
            }
            // From the sixth execution on the driver has the server prepare it, and takes binary values.
            String sql = "SELECT name FROM " + source + ".customer WHERE id >= ? AND id < ? ORDER BY id";
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                for (int n = 0; n < 8; n++) {
                    statement.setLong(1, 2);
                    statement.setInt(2, 2 + n);
                    System.out.print(names(statement.executeQuery()) + " ");
                }
                System.out.println();
            }
            connection.setAutoCommit(false);
            try (PreparedStatement statement = connection.prepareStatement("SELECT value FROM generate_series(1, 1000)")) {
                statement.setFetchSize(50);
                System.out.println(names(statement.executeQuery()).size());
            }
            try (Statement statement = connection.createStatement()) {
                statement.executeQuery("SELECT * FROM nothing");
            } catch (SQLException e) {
                System.out.println(e.getSQLState());
            }
            connection.rollback();
            DatabaseMetaData about = connection.getMetaData();
            System.out.println(names(about.getTables(null, source, "%", new String[] {"TABLE"}), "TABLE_NAME"));
            System.out.println(names(about.getColumns(null, source, "orders", "%"), "COLUMN_NAME"));
            System.out.println(names(about.getPrimaryKeys(null, source, "orders"), "COLUMN_NAME"));
            System.out.println(names(about.getImportedKeys(null, source, "orders"), "FKCOLUMN_NAME"));
            System.out.println(names(about.getSchemas(), "TABLE_SCHEM").contains(source));
            System.out.println(names(about.getTypeInfo(), "TYPE_NAME").contains("text"));
            System.out.println(about.getDriverVersion());
        }
    }

    private static List<String> names(ResultSet rows) throws SQLException {
        List<String> names = new ArrayList<>();
        while (rows.next()) names.add(rows.getString(1));
        return names;
    }

    private static List<String> names(ResultSet rows, String column) throws SQLException {
        List<String> names = new ArrayList<>();
        while (rows.next()) names.add(rows.getString(column));
        return names;
    }
}
