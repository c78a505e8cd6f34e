-- Stock, less what is ordered and not shipped: kept by change, so that it is right now.
CREATE OR REPLACE MATERIALIZED VIEW stock_now
  WITH (refresh = 'on change', key = 'sku, site', owner = 'logistics', contact = 'warehouse@belvedere.example',
        impact = 'sales people promise what is not there')
AS
SELECT i.sku, i.name, s.site, s.on_hand - s.blocked - coalesce(demand.quantity, 0) AS free
FROM erp.item AS i
JOIN erp.stock AS s ON s.sku = i.sku
LEFT JOIN (
  SELECT l.sku, o.site, sum(l.quantity) AS quantity
  FROM shop.orders AS o JOIN shop.order_lines AS l ON l.order_id = o.order_id
  WHERE o.status IN ('open', 'picking')
  GROUP BY l.sku, o.site
) AS demand ON demand.sku = s.sku AND demand.site = s.site;
