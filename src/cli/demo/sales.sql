-- The shop's orders, of today and of the past, as one table each.
CREATE OR REPLACE VIEW orders AS
  SELECT order_id, customer_id, ordered_at, site, channel, status, promised FROM history.orders
  UNION ALL
  SELECT order_id, customer_id, ordered_at, site, channel, status, promised FROM shop.orders;

CREATE OR REPLACE VIEW order_lines AS
  SELECT order_id, line_no, sku, quantity, unit_price, quantity * unit_price AS amount FROM history.order_lines
  UNION ALL
  SELECT order_id, line_no, sku, quantity, unit_price, quantity * unit_price AS amount FROM shop.order_lines;
