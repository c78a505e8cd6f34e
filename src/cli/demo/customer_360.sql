-- All that is known of a customer: who it is (CRM), what it owes (ERP), what it bought (shop).
CREATE OR REPLACE VIEW customer_360
  WITH (owner = 'sales', contact = 'sales@belvedere.example', impact = 'calls without knowing what is owed')
AS
SELECT
  c.id AS customer_id, c.name, c.country, c.region, c.segment, c.salesperson,
  coalesce(bought.orders, 0) AS orders_90_days,
  bought.last_order,
  coalesce(owed.invoiced, 0) AS invoiced,
  coalesce(owed.open, 0) AS open,
  coalesce(late.overdue, 0) AS overdue,
  credit.credit_limit,
  credit.credit_limit - coalesce(owed.open, 0) AS free_credit,
  credit.blocked,
  coalesce(complained.complaints, 0) AS open_complaints,
  touched.last_contact
FROM crm.customer AS c
JOIN erp.customer_credit AS credit ON credit.customer_id = c.id
LEFT JOIN (
  SELECT customer_id, count(*) AS orders, max(ordered_at) AS last_order
  FROM orders WHERE status <> 'cancelled' GROUP BY customer_id
) AS bought ON bought.customer_id = c.id
LEFT JOIN (
  SELECT customer_id, sum(amount) AS invoiced, sum(amount - paid) AS open
  FROM erp.invoice GROUP BY customer_id
) AS owed ON owed.customer_id = c.id
LEFT JOIN (
  SELECT customer_id, sum(amount - paid) AS overdue
  FROM erp.invoice WHERE due < DATE '{today}' AND paid < amount GROUP BY customer_id
) AS late ON late.customer_id = c.id
LEFT JOIN (
  SELECT customer_id, count(*) AS complaints
  FROM crm.activity WHERE kind = 'complaint' AND is_open GROUP BY customer_id
) AS complained ON complained.customer_id = c.id
LEFT JOIN (
  SELECT customer_id, max(happened_at) AS last_contact FROM crm.activity GROUP BY customer_id
) AS touched ON touched.customer_id = c.id;
