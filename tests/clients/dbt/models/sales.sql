-- Sales of each customer, as they are now.
select c.id, c.name, coalesce(sum(o.total), 0) as total, count(o.id) as orders
from {{ ref('customers') }} c
left join {{ source('shop', 'orders') }} o on o.customer = c.id
group by c.id, c.name
