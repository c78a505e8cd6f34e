select name, total from {{ ref('sales_kept') }} where total >= 5
