# stateferry: workspaces of Harness Infrastructure as Code Management. The token is read from HARNESS_PLATFORM_API_KEY; its owner, best a
# service account, needs "Workspace: Access State", and "View" on the workspaces.

agent {
  store = "/var/lib/stateferry"
}

# Every workspace of a project; a state's name is the identifier of its workspace.
backend "harness" "live" {
  account_id = "dRz8JkPq-VEu_7w0Kc3b0A"
  org_id     = "acme"
  project_id = "net"

  # endpoint   = "https://harness.example.com/gateway" # one's own installation
  # workspaces = ["vpc", "web"]                        # these only, and nothing is listed
}

# One workspace, by what its repository has already: the backend "http" block of the workspace's CLI integration. The token may come from
# TF_HTTP_PASSWORD then, as terraform takes it.
backend "harness" "pipeline" {
  from_file = "/srv/checkout/backends.tf"
}

backend "local" "copy" {
  dir = "/mnt/backup/terraform"
}

# A workspace is never made by the agent: those of a target have to be there.
backend "harness" "standby" {
  account_id = "dRz8JkPq-VEu_7w0Kc3b0A"
  org_id     = "acme"
  project_id = "standby"
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy", "standby"]
}

replicate "pipeline-to-copy" {
  from = "pipeline"
  to   = ["copy"]
  key  = "pipeline/{name}"
}
