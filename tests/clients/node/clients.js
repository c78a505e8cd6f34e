// node-postgres against a server: address, and the schema of a source with the tables customer and orders. It throws where an
// answer is not what it should be, and prints its version at the end.
const assert = require("node:assert/strict");
const { Client, Pool } = require("pg");
const Cursor = require("pg-cursor");

const [address, source] = process.argv.slice(2);

async function rows(client, sql, values) {
  return (await client.query({ text: sql, values, rowMode: "array" })).rows;
}

async function main() {
  const client = new Client({ connectionString: address });
  const notices = [];
  client.on("notice", (notice) => notices.push(notice.message));
  await client.connect();

  const plain = await client.query(`SELECT id, name FROM ${source}.customer ORDER BY id`);
  assert.deepEqual(plain.rows, [{ id: "1", name: "Ada" }, { id: "2", name: "Bo" }, { id: "3", name: "Çelik" }]);
  assert.equal(plain.rowCount, 3);
  assert.equal(plain.command, "SELECT");

  const several = await client.query("SELECT 1 AS a; SELECT 2 AS b");
  assert.deepEqual(several.map((one) => one.rows), [[{ a: 1 }], [{ b: 2 }]].map((each) => each.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value)])))).map((each) => each), "numbers are bigint");

  assert.deepEqual(await rows(client, `SELECT name FROM ${source}.customer WHERE id = $1`, [3]), [["Çelik"]]);
  assert.deepEqual(await rows(client, `SELECT name FROM ${source}.customer WHERE id = ANY($1) ORDER BY 1`, [[1, 2]]), [["Ada"], ["Bo"]]);
  for (const id of [1, 2, 3]) {
    const query = { name: "by id", text: `SELECT count(*) AS n FROM ${source}.orders WHERE customer = $1`, values: [id] };
    assert.deepEqual((await client.query(query)).rows, [{ n: String([2, 1, 0][id - 1]) }]);
  }

  const types = `SELECT true AS yes, CAST(7 AS INT) AS four, CAST(1.5 AS DOUBLE) AS real, CAST(1.50 AS DECIMAL(10, 2)) AS exact, 'ü' AS text,
    decode('00ff', 'hex') AS bytes, TIMESTAMPTZ '2024-07-01 12:00:00+00' AS at, [1, 2] AS list, CAST(NULL AS INT) AS nothing,
    named_struct('a', 1) AS json`;
  const { rows: [value] } = await client.query(types);
  assert.deepEqual(value, {
    yes: true, four: 7, real: 1.5, exact: "1.50", text: "ü", bytes: Buffer.from([0, 255]), at: new Date("2024-07-01T12:00:00Z"),
    list: ["1", "2"], nothing: null, json: { a: 1 },
  });
  const given = [7, "ü", true, new Date("2024-07-01T12:00:00Z"), Buffer.from([0, 255]), null];
  const echoed = "SELECT $1::int, $2::text, $3::boolean, $4::timestamptz, $5::bytea, $6::date";
  assert.deepEqual(await rows(client, echoed, given), [given]);

  const cursor = client.query(new Cursor(`SELECT id FROM ${source}.orders WHERE id > $1 ORDER BY id`, [0]));
  assert.deepEqual((await cursor.read(2)).map((row) => row.id), ["10", "11"]);
  assert.deepEqual((await cursor.read(2)).map((row) => row.id), ["12"]);
  await cursor.close();

  await assert.rejects(client.query("SELECT * FROM nothing"), { code: "42P01" });
  await assert.rejects(client.query("SELECT 1 / $1::int", [0]), { code: "22012" });
  await client.query("BEGIN");
  await assert.rejects(client.query("SELEC"), { code: "42601" });
  await assert.rejects(client.query("SELECT 1"), { code: "25P02" });
  await client.query("ROLLBACK");
  // Two columns of one name: the last is what an object has.
  assert.deepEqual(await rows(client, "SELECT 1, 1"), [["1", "1"]]);
  await client.end();

  const pool = new Pool({ connectionString: address, max: 3 });
  const counts = await Promise.all([...Array(20).keys()].map((n) => pool.query("SELECT $1::int AS n", [n])));
  assert.deepEqual(counts.map((count) => count.rows[0].n), [...Array(20).keys()]);
  await pool.end();
  console.log(`${require("pg/package.json").version} (Node ${process.versions.node})`);
}

main().catch((failed) => {
  console.error(failed);
  process.exit(1);
});
