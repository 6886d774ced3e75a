# stateferry: agents with this same file share the work, and agree on who does it in etcd (3.4 or later), by its JSON gateway.

agent {
  store = "/var/lib/stateferry"
}

backend "s3" "live" {
  bucket       = "acme-tfstate"
  region       = "eu-central-1"
  use_lockfile = true
}

backend "remote" "tfe" {
  hostname     = "tfe.example.com"
  organization = "acme"
  token        = env("TFE_TOKEN")
  create       = true # workspaces that are missing
}

replicate "live-to-tfe" {
  from = "live"
  to   = ["tfe"]
  key  = "{path}"

  lease {
    coordinator = "etcd"
    ttl         = "30s"

    etcd {
      endpoints = ["https://etcd-1.example.com:2379", "https://etcd-2.example.com:2379", "https://etcd-3.example.com:2379"]
      username  = "stateferry" # etcdctl role grant-permission ROLE readwrite --prefix=true .stateferry/
      password  = file("/etc/stateferry/secrets/etcd")
      # ca_file   = "/etc/stateferry/etcd-ca.pem"
      # cert_file = "/etc/stateferry/etcd.pem" # where etcd asks for a client certificate; without CN in its subject
      # key_file  = "/etc/stateferry/etcd.key"
    }
  }
}
