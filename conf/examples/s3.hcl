# stateferry: states in S3. The arguments, defaults and AWS_* variables are terraform's own: the body of a backend "s3" block can
# be pasted here.

agent {
  store = "/var/lib/stateferry"
}

# One state and its workspaces, where terraform keeps them. Credentials come from the profile, else from where terraform finds them:
# AWS_ACCESS_KEY_ID, ~/.aws, the container, the instance.
backend "s3" "live" {
  bucket       = "acme-tfstate"
  key          = "network/prod/terraform.tfstate"
  region       = "eu-central-1" # or AWS_REGION
  use_lockfile = true           # lock as terraform 1.10 and later: KEY.tflock

  # workspace_key_prefix      = "env:"
  # profile                   = "default"
  # shared_credentials_files  = ["/etc/stateferry/aws-credentials"]
  # shared_config_files       = ["/etc/stateferry/aws-config"]
  # access_key                = env("DR_ACCESS_KEY", "AKIAEXAMPLE") # the environment variables need no line here
  # secret_key                = env("DR_SECRET_KEY", "example")
  # token                     = env("DR_TOKEN", "")
  # encrypt                   = true # ask for encryption; the bucket's default applies without it
  # kms_key_id                = "alias/tfstate"
  # sse_customer_key          = env("SSE_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
  # acl                       = "bucket-owner-full-control"
  # skip_s3_checksum          = false
  # use_dualstack_endpoint    = false
  # use_fips_endpoint         = false
  # max_retries               = 5 # tries of a read in all
  # custom_ca_bundle          = "/etc/ssl/certs/ca-certificates.crt"
  # https_proxy               = "http://proxy.example.com:3128"
  # no_proxy                  = "169.254.169.254,.internal"
  # skip_metadata_api_check   = true # never ask the instance's metadata
  # backfill                  = 100 # older versions of a bucket with versioning: needs s3:ListBucketVersions and s3:GetObjectVersion
}

# Every *.tfstate of a bucket below a prefix, on a store that speaks S3. Whether it keeps its promises:
# stateferry probe dr
backend "s3" "dr" {
  bucket         = "acme-tfstate-dr"
  prefix         = "states/"
  region         = "us-east-1" # what the store calls its region
  use_lockfile   = true
  use_path_style = true
  create         = true # make the bucket if it is missing
  endpoints = {
    s3 = "https://s3.example.com"
  }
  access_key = env("DR_ACCESS_KEY", "AKIAEXAMPLE")
  secret_key = env("DR_SECRET_KEY", "example") # or file("/etc/stateferry/dr.key")
}

replicate "live-to-dr" {
  from = "live"
  to   = ["dr"]
  key  = "network/{workspace}/terraform.tfstate"
}
