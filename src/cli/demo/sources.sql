-- The systems of the company. Each becomes a catalog of tables.
CREATE OR REPLACE SOURCE erp FROM 'sqlite:erp.db'
  WITH (changes = 'triggers', owner = 'finance', contact = 'erp@belvedere.example',
        impact = 'no stock, prices or invoices');
CREATE OR REPLACE SOURCE crm FROM 'sqlite:crm.db'
  WITH (owner = 'sales', contact = 'crm@belvedere.example', impact = 'no names of customers');
CREATE OR REPLACE SOURCE shop FROM 'sqlite:shop.db'
  WITH (changes = 'triggers', owner = 'e-commerce', contact = 'shop@belvedere.example',
        impact = 'no orders of today');
CREATE OR REPLACE SOURCE history FROM './shop/'
  WITH (columns = 'price_list.price: decimal(12,2)', owner = 'e-commerce', contact = 'shop@belvedere.example',
        event = 'orders move here from the shop at midnight');
