-- What was earned: the shop's sales against the ERP's cost of goods.
CREATE OR REPLACE VIEW margin_by_month
  WITH (owner = 'finance', contact = 'controlling@belvedere.example', impact = 'no monthly report')
AS
SELECT
  date_trunc('month', o.ordered_at)::date AS month,
  i.category,
  sum(l.amount) AS revenue,
  sum(l.quantity * i.cost) AS cost,
  sum(l.amount) - sum(l.quantity * i.cost) AS margin,
  round(100.0 * (sum(l.amount) - sum(l.quantity * i.cost)) / sum(l.amount), 1) AS margin_percent
FROM orders AS o
JOIN order_lines AS l ON l.order_id = o.order_id
JOIN erp.item AS i ON i.sku = l.sku
WHERE o.status <> 'cancelled'
GROUP BY date_trunc('month', o.ordered_at)::date, i.category;
