"""Strict checks of Kubernetes resources: what the schemas do not name is refused, as a typing error would be."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

#: The operator's definitions of its resources, as its package ships them.
DEFINITIONS = files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds"

#: The group of the operator's resources.
OPERATOR = "kubernetes.dask.org/"


class Refused(ValueError):
    """A resource is not what its schema says."""


def check_resource(resource: dict[str, Any]) -> None:
    """Raise Refused for a resource, Kubernetes' own or the operator's, with anything wrong or unknown in it."""
    try:
        if resource["apiVersion"].startswith(OPERATOR):
            jsonschema.Draft7Validator(_operator_schema(resource["kind"])).validate(resource)
        else:
            kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        where = "/".join(str(part) for part in error.path)
        raise Refused(f"{resource.get('kind')} {where}: {error.message}") from error


@cache
def _operator_schema(kind: str) -> dict[str, Any]:
    text = (DEFINITIONS / f"{kind.lower()}.yaml").read_text()
    (version,) = yaml.safe_load(text)["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    # the API server adds these to every definition
    schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"const": kind}, "metadata": _metadata()}
    return _strict(schema)


def _metadata() -> dict[str, Any]:
    words = {"type": "object", "additionalProperties": {"type": "string"}}
    owner = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "name": {"type": "string"},
             "uid": {"type": "string"}, "controller": {"type": "boolean"},
             "blockOwnerDeletion": {"type": "boolean"}}  # fmt: skip
    owners = {"type": "object", "properties": owner, "required": ["apiVersion", "kind", "name", "uid"]}
    return {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
            "namespace": {"type": "string"},
            "labels": words,
            "annotations": words,
            "ownerReferences": {"type": "array", "items": owners},
        },
    }


def _strict(schema: Any) -> Any:
    """The same schema, refusing unknown fields; in JSON Schema's words where Kubernetes has its own."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(value) for name, value in schema.items()}
    if strict.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        strict.setdefault("additionalProperties", False)
    return strict
