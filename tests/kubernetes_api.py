"""An API server for tests: HTTPS, tokens, rights, the operator's definitions strictly checked, and real pods.

It stores what is posted, answers lists, reads and deletions, collects what lost its owner, and gives each
`DaskCluster` to `kubernetes_pods.Cluster`.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import re
import ssl
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes_pods import Cluster
from kubernetes_schemas import Refused, check_resource

TOKEN = "let-me-in"
NAMESPACE = "audio"

_PATH = re.compile(r"/(?:api/v1|apis/([\w.]+)/(\w+))/namespaces/([\w-]+)/(\w+)(?:/([\w.-]+))?$")


class KubernetesApi:
    """A server at 127.0.0.1 with one namespace, a context manager.

    Parameters
    ----------
    folder : for its certificate, the credentials that it hands out, and the pods' files
    operator : whether the operator runs
    defined : whether its resources are defined
    forbidden : what nobody may do, as ``create daskclusters``
    """

    def __init__(
        self, folder: Path, *, operator: bool = True, defined: bool = True, forbidden: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.operator = operator
        self.defined = defined
        self.forbidden = set(forbidden)
        self.images: dict[str, dict[str, str]] = {"corpusdiff:test": {}}  # and the environment of each
        self.secrets: dict[str, dict[str, str]] = {}
        self.resources: dict[str, dict[str, Any]] = {}
        self.running: dict[str, Cluster] = {}
        self.other_pods: dict[str, dict[str, Any]] = {}
        self.posted: list[dict[str, Any]] = []
        self.failures = 0  # answers to come that say 503
        self.lose_answers_to = ""  # the verb whose next request is carried out, but answered with 503
        self.lock = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)
        certificate = _make_certificate(folder)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> KubernetesApi:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for cluster in list(self.running.values()):
            cluster.stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def kubeconfig(self, token: str = TOKEN) -> Path:
        """A file with the user's way to it, the certificate in it as most clouds write it."""
        ca = base64.b64encode((self.folder / "ca.pem").read_bytes()).decode()
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": ca}
        path = self.folder / "kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": "me", "user": {"token": token}}],
                    "contexts": [
                        {"name": "test", "context": {"cluster": "test", "user": "me", "namespace": NAMESPACE}}
                    ],
                }
            )
        )
        return path

    def credentials(self) -> Path:
        """A folder as Kubernetes puts it into each pod."""
        place = self.folder / "serviceaccount"
        place.mkdir(exist_ok=True)
        (place / "token").write_text(TOKEN)
        (place / "namespace").write_text(NAMESPACE)
        (place / "ca.crt").write_bytes((self.folder / "ca.pem").read_bytes())
        return place

    def add_driver_pod(self, name: str, spec: dict[str, Any]) -> str:
        """A pod that is there, say of a driver; its uid."""
        uid = str(uuid.uuid4())
        metadata = {"name": name, "namespace": NAMESPACE, "uid": uid, "labels": {}}
        self.other_pods[name] = {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}
        return uid

    def remove_pod(self, name: str) -> None:
        """Delete a pod, and with it what it owns."""
        uid = self.other_pods.pop(name)["metadata"]["uid"]
        for resource in list(self.resources.values()):
            if any(owner["uid"] == uid for owner in resource["metadata"].get("ownerReferences", ())):
                self.delete(resource["metadata"]["name"])

    def pods(self) -> list[dict[str, Any]]:
        """All pods."""
        running = [pod.resource for cluster in list(self.running.values()) for pod in cluster.pods]
        return [*self.other_pods.values(), *running]

    def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Take a `DaskCluster`; raises Refused, and FileExistsError for one of that name."""
        check_resource(resource)
        name = resource["metadata"]["name"]
        if name in self.resources:
            raise FileExistsError(name)
        self.posted.append(resource)
        stored = resource | {"metadata": resource["metadata"] | {"uid": str(uuid.uuid4())}}
        if self.operator:
            self.running[name] = Cluster(resource, self.images, self.secrets, self.folder)
            stored["status"] = {"phase": "Running"}
        self.resources[name] = stored
        return stored

    def delete(self, name: str) -> dict[str, Any]:
        """Remove a `DaskCluster` and what the operator made of it. Raises KeyError."""
        resource = self.resources.pop(name)
        if name in self.running:
            self.running.pop(name).stop()
        return resource


#: What Kubernetes calls HTTP's methods.
_VERBS = {"GET": "get", "POST": "create", "DELETE": "delete"}


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    api: KubernetesApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Get or list."""
        self._answer()

    def do_POST(self) -> None:
        """Create."""
        self._answer()

    def do_DELETE(self) -> None:
        """Delete."""
        self._answer()

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        with self.api.lock:
            code, answer = self._respond(body)
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _respond(self, body: Any) -> tuple[int, dict[str, Any]]:  # noqa: PLR0911  # one per way to refuse
        url = urlsplit(self.path)
        found = _PATH.match(url.path)
        if self.headers.get("Authorization", "").lower() != f"bearer {TOKEN}":
            return _status(401, "Unauthorized")
        if found is None:
            return _status(404, "the server could not find the requested resource")
        group, _, namespace, plural, name = found.groups()
        verb = "list" if self.command == "GET" and name is None else _VERBS[self.command]
        if f"{verb} {plural}" in self.api.forbidden:
            return _status(403, f'{plural} is forbidden: User "me" cannot {verb} resource "{plural}"')
        if group is not None and not self.api.defined:
            return _status(404, "the server could not find the requested resource")
        if namespace != NAMESPACE:
            return _status(404, f'namespaces "{namespace}" not found')
        wanted = parse_qs(url.query).get("labelSelector", [""])[0]
        if self.api.failures:
            self.api.failures -= 1
            return _status(503, "etcdserver: leader changed")
        try:
            answer = self._do(verb, plural, name, wanted, body)
            if verb == self.api.lose_answers_to:
                self.api.lose_answers_to = ""
                return _status(503, "etcdserver: request timed out")
            return 201 if verb == "create" else 200, answer
        except KeyError:
            return _status(404, f'{plural} "{name}" not found')
        except FileExistsError as error:
            return _status(409, f'{plural} "{error}" already exists')
        except Refused as refused:
            return _status(400, str(refused))

    def _do(self, verb: str, plural: str, name: str | None, wanted: str, body: Any) -> dict[str, Any]:
        api = self.api
        if plural == "daskclusters" and verb == "create":
            return api.create(body)
        if plural == "daskclusters" and verb == "delete":
            return api.delete(str(name))
        if plural == "daskclusters":
            held = api.resources
        elif plural == "pods":
            held = {pod["metadata"]["name"]: pod for pod in api.pods()}
        else:
            held = {f"{cluster}-scheduler": running.service for cluster, running in api.running.items()}
        if verb == "get":
            return held[str(name)]
        return {"kind": "List", "items": [item for item in held.values() if _matches(item, wanted)]}


def _matches(item: dict[str, Any], wanted: str) -> bool:
    labels = item["metadata"].get("labels", {})
    pairs = (pair.split("=") for pair in wanted.split(",") if pair)
    return all(labels.get(key) == value for key, value in pairs)


def _status(code: int, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


def _make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself: ca.pem, and with its key server.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(public)
    path = folder / "server.pem"
    path.write_bytes(secret + public)
    return path
