# stateferry: states below one folder, copied to another. Nothing but a disk is needed to try this.
#
#   stateferry -c local-to-local.hcl sync
#   stateferry -c local-to-local.hcl list

agent {
  store = "/var/lib/stateferry"
}

# Every *.tfstate below this folder, watched by inotify while "stateferry run" lives.
backend "local" "live" {
  dir     = "/srv/terraform"
  exclude = ["**/scratch/**"]
}

# Terraform's own layout works as well: one file, and its workspaces in terraform.tfstate.d beside it.
backend "local" "project" {
  path = "/srv/project/terraform.tfstate"
}

backend "local" "copy" {
  dir    = "/mnt/backup/terraform"
  create = true # make the folder if it is missing
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]
  key  = "live/{name}"
}

replicate "project-to-copy" {
  from = "project"
  to   = ["copy"]
  key  = "project/{workspace}"
}

# Every version as a file of its own: history/STATE/SERIAL-TIME-DIGEST.tfstate.zst, readable with zstd alone.
snapshot "versions" {
  from   = "live"
  to     = ["copy"]
  prefix = "history/"
  every  = "change"
}
