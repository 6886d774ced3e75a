# stateferry: the states that GitLab manages in a project, by terraform's "http" backend. Reading takes the role Developer, locking and writing
# Maintainer, and the access token (personal, project or group) the scope api.

agent {
  store = "/var/lib/stateferry"
}

# Every state of the project: with {name} and without `states` they are listed through GitLab's API. 1234 is the project's number; its path
# does as well, with "/" as "%2F". A state's name has no "/" here.
backend "http" "live" {
  address        = "https://gitlab.example.com/api/v4/projects/1234/terraform/state/{name}"
  lock_address   = "https://gitlab.example.com/api/v4/projects/1234/terraform/state/{name}/lock"
  lock_method    = "POST"
  unlock_address = "https://gitlab.example.com/api/v4/projects/1234/terraform/state/{name}/lock"
  unlock_method  = "DELETE"
  retry_wait_min = 5
  username       = "stateferry"
  password       = env("GITLAB_TOKEN", "")

  # In a job of this GitLab nothing has to be said of user and password: CI_JOB_TOKEN is taken. It cannot list:
  # states = ["network", "web"]
  # Or a header in place of both:
  # headers = { PRIVATE-TOKEN = env("GITLAB_TOKEN") }
}

backend "local" "copy" {
  dir = "/mnt/backup/terraform"
}

# The states of another project, written under GitLab's own locks. Only a higher serial is ever shown there.
backend "http" "standby" {
  address        = "https://gitlab.example.com/api/v4/projects/acme%2Fstandby/terraform/state/{name}"
  lock_address   = "https://gitlab.example.com/api/v4/projects/acme%2Fstandby/terraform/state/{name}/lock"
  lock_method    = "POST"
  unlock_address = "https://gitlab.example.com/api/v4/projects/acme%2Fstandby/terraform/state/{name}/lock"
  unlock_method  = "DELETE"
  username       = "stateferry"
  password       = env("GITLAB_TOKEN", "")
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy", "standby"]
}
