# SPDX-License-Identifier: MIT
"""States made for tests: valid for terraform, indented as terraform writes them."""
import json
import uuid

CANARY = "canary-5d1f0c7e-sensitive"    # in every made state: must never reach a log
SECRET = {"secret": {"value": CANARY, "type": "string", "sensitive": True}}

ODD_NAMES = [                 # that break careless programs
    "with space/a b.tfstate",
    "ü/größe.tfstate",
    "日本/状態.tfstate",
    "hash#1.tfstate",
    "percent%20%41.tfstate",
    "plus+plus.tfstate",
    "dots..in/..the/name...tfstate",
    "question?.tfstate",
    "a&b=c;d.tfstate",
    "quote'\"quote.tfstate",
    "(1)!*$@,~.tfstate",
    "back\\slash.tfstate",
    "colon:in:it.tfstate",
    "at@7.tfstate",
    "brace{name}.tfstate",
    "dollar${x}.tfstate",
    "deep/" * 40 + "x.tfstate",
    "long-" + "n" * 200 + ".tfstate",
]


def lineage():
    return str(uuid.uuid4())


def resource(index, text):
    dynamic = {"value": f"{text}-{index}", "type": "string"}
    return {"mode": "managed", "type": "terraform_data", "name": f"r{index}",
            "provider": 'provider["terraform.io/builtin/terraform"]',
            "instances": [{"schema_version": 0, "attributes": {
                "id": f"id-{index}", "input": dynamic, "output": dynamic, "triggers_replace": None},
                "sensitive_attributes": []}]}


def state(serial, line, resources=3, text="text", outputs=None, compact=False):
    """The bytes of a state."""
    doc = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": line,
           "outputs": SECRET if outputs is None else outputs,
           "resources": [resource(i, text) for i in range(resources)], "check_results": None}
    if compact:
        return json.dumps(doc, separators=(",", ":"), ensure_ascii=False).encode()
    return json.dumps(doc, indent=2, ensure_ascii=False).encode() + b"\n"


def padded(serial, line, size):
    """A state of about that many bytes, quickly."""
    one = json.dumps(resource(0, "x" * 1000)).replace('"r0"', '"r%d"')
    count = max(1, size // len(one))
    body = ",\n".join(one % i for i in range(count))
    head = json.dumps({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": line, "outputs": {}})
    return (head[:-1] + ', "resources": [\n' + body + '\n], "check_results": null}\n').encode()


def serial_of(body):
    return json.loads(body)["serial"]


def lineage_of(body):
    return json.loads(body)["lineage"]
