{#
    What a dbt project needs to have the best of Belvedere: a copy of this file in its folder `macros`.

    A materialized view has options, which a model says as `meta: {belvedere: {refresh: 'on change', key: 'id'}}`. A view that is there
    is defined once more, in its place: as it was, it keeps its rows; a changed query or option takes effect. Without this file each run
    drops views, with all that read them, and makes them anew, as in PostgreSQL.
#}

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

{% macro postgres__refresh_materialized_view(relation) %}
    {{ get_create_materialized_view_as_sql(relation, sql) }}
{% endmacro %}

{% macro postgres__create_view_as(relation, sql) %}
    create or replace view {{ relation }} as (
        {{ sql }}
    );
{% endmacro %}

{% materialization view, adapter = 'postgres' %}
    {% set made = create_or_replace_view() %}
    {% do persist_docs(made['relations'][0], model) %}
    {% do adapter.commit() %}
    {{ return(made) }}
{% endmaterialization %}
