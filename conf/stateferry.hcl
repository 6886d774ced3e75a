# stateferry: example configuration. The syntax is terraform's own: "terraform fmt" accepts this file.
#
#   stateferry -c stateferry.hcl config check    is it right? "config show" prints the defaults too
#   stateferry -c stateferry.hcl sync            one pass, then exit
#   stateferry -c stateferry.hcl run             watch and replicate until stopped
#
# Anywhere a string may stand: env("NAME"), env("NAME", "default"), file("PATH"). Durations are strings ("90s", "6h",
# "7d"), sizes too ("64MiB"). Relative paths are relative to this file. Nobody but root or you may be able to write it.

agent {
  store = "/var/lib/stateferry" # every version of every state; created 0700
  log   = "info"                # error warn info debug

  # 32 bytes, hex or base64: everything in the store is encrypted
  # encryption_key = file("/etc/stateferry/store.key")
}

# --- where states live ---

# A folder with one state per *.tfstate, in any depth.
backend "local" "live" {
  dir     = "/srv/terraform"
  exclude = ["**/scratch/**"]
}

# The replicas: the same names below another folder, on another disk or a network share.
backend "local" "copy" {
  dir = env("STATEFERRY_COPY", "/mnt/backup/terraform")
}

# An S3 bucket: the body of a terraform backend "s3" block can be pasted; terraform's environment variables and credential
# files count. Without "key": every state of the bucket below "prefix".
#
# backend "s3" "dr" {
#   bucket       = "acme-tfstate-dr"
#   region       = env("DR_REGION", "eu-west-3")
#   use_lockfile = true
#   prefix       = "states/"
#   create       = true # make the bucket if it is missing
# }
#
# Or leave the block where it is: arguments from terraform's own files, as they are when the agent starts or reloads.
#
# backend "s3" "infra" {
#   from_file = "infra/.terraform/terraform.tfstate" # or a .tf file, a -backend-config file, "KEY=VALUE", or a list of them
# }

# One state behind terraform's "http" backend.
#
# backend "http" "legacy" {
#   address        = "https://state.example.com/prod"
#   lock_address   = "https://state.example.com/prod/lock"
#   unlock_address = "https://state.example.com/prod/lock"
#   username       = "stateferry"
#   password       = file("/etc/stateferry/legacy.password")
# }

# --- what goes where ---

# Each new version that looks right is written to each target, under terraform's own lock.
replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]

  # include = ["prod/**"]
  # state "prod/billing" { # override for one state
  #   paused = true
  # }

  # Several agents with this configuration share the edge: one writes, another follows when it ends, dies or keeps failing.
  # lease {
  #   coordinator = "target" # or dynamodb, etcd, with a block of that name: examples/lease-dynamodb.hcl, lease-etcd.hcl
  #   ttl         = "60s"
  # }
}

# Every version as a file of its own below history/, for people with zstd and no stateferry.
#
# snapshot "versions" {
#   from   = "live"
#   to     = ["copy"]
#   prefix = "history/"
#   every  = "change"
# }
