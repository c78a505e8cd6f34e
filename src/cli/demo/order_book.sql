-- What has been ordered and not yet shipped, with what it is worth and whether the customer may have it.
CREATE OR REPLACE VIEW order_book
  WITH (owner = 'logistics', contact = 'warehouse@belvedere.example', impact = 'nobody knows what to ship')
AS
SELECT
  o.order_id, o.ordered_at, o.promised, o.promised < DATE '{today}' AS late, o.site, o.channel, o.status,
  c.id AS customer_id, c.name AS customer, c.country, c.segment,
  l.lines, l.value,
  credit.blocked AS customer_blocked
FROM orders AS o
JOIN (
  SELECT order_id, count(*) AS lines, sum(amount) AS value FROM order_lines GROUP BY order_id
) AS l ON l.order_id = o.order_id
JOIN crm.customer AS c ON c.id = o.customer_id
JOIN erp.customer_credit AS credit ON credit.customer_id = o.customer_id
WHERE o.status IN ('open', 'picking');
