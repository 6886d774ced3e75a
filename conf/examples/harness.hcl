# stateferry: workspaces of Harness Infrastructure as Code Management. The token's owner, best a service account, needs "Workspace: Access State",
# and "View" on the workspaces. Without api_key, HARNESS_PLATFORM_API_KEY or HARNESS_API_KEY is read.

agent {
  store = "/var/lib/stateferry"
}

# Every workspace of a project; a state's name is the identifier of its workspace.
backend "harness" "live" {
  account_id = "dRz8JkPq-VEu_7w0Kc3b0A"
  org_id     = "acme"
  project_id = "net"
  api_key    = env("HARNESS_PLATFORM_API_KEY")

  # endpoint   = "https://harness.example.com/gateway" # one's own installation
  # workspaces = ["vpc", "web"]                        # these only, and nothing is listed
}

# One workspace, by the body of the backend "http" block that its CLI integration shows, pasted; or in place of all of it
# from_file = "/srv/checkout/backends.tf". The token may come from TF_HTTP_PASSWORD then, as terraform takes it.
backend "harness" "pipeline" {
  address        = "https://app.harness.io/gateway/iacm/api/orgs/acme/projects/net/workspaces/web/terraform-backend?accountIdentifier=dRz8JkPq-VEu_7w0Kc3b0A"
  lock_address   = "https://app.harness.io/gateway/iacm/api/orgs/acme/projects/net/workspaces/web/terraform-backend/lock?accountIdentifier=dRz8JkPq-VEu_7w0Kc3b0A"
  lock_method    = "POST"
  unlock_address = "https://app.harness.io/gateway/iacm/api/orgs/acme/projects/net/workspaces/web/terraform-backend/lock?accountIdentifier=dRz8JkPq-VEu_7w0Kc3b0A"
  unlock_method  = "DELETE"
  username       = "harness"
  password       = env("TF_HTTP_PASSWORD")
}

backend "local" "copy" {
  dir = "/mnt/backup/terraform"
}

# A workspace is never made by the agent: those of a target have to be there.
backend "harness" "standby" {
  account_id = "dRz8JkPq-VEu_7w0Kc3b0A"
  org_id     = "acme"
  project_id = "standby"
  api_key    = env("HARNESS_PLATFORM_API_KEY")
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
