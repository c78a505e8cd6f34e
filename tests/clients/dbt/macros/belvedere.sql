{# A materialized view with Belvedere's options, which a model says as `meta: {belvedere: {refresh: 'on change', key: 'id'}}`. #}
{% macro postgres__get_create_materialized_view_as_sql(relation, sql) %}
    {%- set options = config.get('meta', {}).get('belvedere', {}) %}
    create or replace materialized view {{ relation }}
    {%- if options %}
    with ({% for name, value in options.items() %}{{ name }} = '{{ value | string | replace("'", "''") }}'{{ ", " if not loop.last }}{% endfor %})
    {%- endif %}
    as {{ sql }};
    {%- for index in config.get('indexes', []) %}
    {{ get_create_index_sql(relation, index) }};
    {%- endfor %}
{% endmacro %}

{# A view that is there is defined once more: as it was, it keeps its rows; a changed query or option takes effect. #}
{% macro postgres__refresh_materialized_view(relation) %}
    {{ get_create_materialized_view_as_sql(relation, sql) }}
{% endmacro %}
