# stateferry: states in S3 under roles of IAM, in two accounts.

agent {
  store = "/var/lib/stateferry"
}

# The role is taken with whatever credentials are found: keys, a profile (which may take a role, use a login of "aws sso login", or name a
# program), a container, an instance. Its trust policy has to name them.
backend "s3" "live" {
  bucket = "acme-tfstate"
  region = "eu-central-1"
  assume_role = {
    role_arn    = "arn:aws:iam::111111111111:role/tfstate-reader"
    external_id = "acme"
    duration    = "1h"

    # session_name        = "stateferry" # what CloudTrail shows; default: stateferry@NAME of the agent
    # policy_arns         = ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]
    # source_identity     = "dr"
    # tags                = { team = "platform" }
    # transitive_tag_keys = ["team"]
  }
  allowed_account_ids = ["111111111111"] # no other account by mistake
}

# A token of an OpenID issuer instead of keys: a pod of Kubernetes, a job of a CI. It is read again for each session.
backend "s3" "dr" {
  bucket       = "acme-tfstate-dr"
  region       = "eu-west-3"
  use_lockfile = true
  assume_role_with_web_identity = {
    role_arn                = "arn:aws:iam::222222222222:role/tfstate-writer" # or AWS_ROLE_ARN
    web_identity_token_file = "/var/run/secrets/tokens/aws"                   # or AWS_WEB_IDENTITY_TOKEN_FILE
  }
}

replicate "live-to-dr" {
  from = "live"
  to   = ["dr"]
}
