"""A Superset that is made for one run of the tests, in a temporary folder."""

import os

HOME = os.environ["SUPERSET_HOME"]
SECRET_KEY = "of one run of the tests"
SQLALCHEMY_DATABASE_URI = f"sqlite:///{HOME}/superset.db"
# It is asked by programs alone.
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
FEATURE_FLAGS = {"ALERT_REPORTS": False}
