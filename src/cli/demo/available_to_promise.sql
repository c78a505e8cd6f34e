-- What can be promised, by item and site: on hand, less what is ordered and not shipped, plus what will arrive.
CREATE OR REPLACE VIEW available_to_promise
  WITH (owner = 'logistics', contact = 'warehouse@belvedere.example', impact = 'promises that cannot be kept')
AS
SELECT
  i.sku, i.name, i.category, s.site,
  s.on_hand - s.blocked AS usable,
  coalesce(demand.quantity, 0) AS ordered,
  coalesce(supply.quantity, 0) AS arriving,
  s.on_hand - s.blocked - coalesce(demand.quantity, 0) AS available_now,
  s.on_hand - s.blocked - coalesce(demand.quantity, 0) + coalesce(supply.quantity, 0) AS available_in_14_days
FROM erp.item AS i
JOIN erp.stock AS s ON s.sku = i.sku
LEFT JOIN (
  SELECT l.sku, o.site, sum(l.quantity) AS quantity
  FROM orders AS o JOIN order_lines AS l ON l.order_id = o.order_id
  WHERE o.status IN ('open', 'picking')
  GROUP BY l.sku, o.site
) AS demand ON demand.sku = s.sku AND demand.site = s.site
LEFT JOIN (
  SELECT sku, site, sum(quantity) AS quantity
  FROM erp.purchase WHERE expected <= DATE '{today}' + INTERVAL '14 days'
  GROUP BY sku, site
) AS supply ON supply.sku = s.sku AND supply.site = s.site;
