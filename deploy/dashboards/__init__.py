"""Grafana's dashboards of pointstream, made from here: `python -m deploy.dashboards` writes them.

`panels` builds, `overview` and `points` say what is shown. The JSON files beside them are what
Grafana takes, by provisioning or import.
"""
