#!/bin/sh
# SPDX-License-Identifier: MIT
# The main job on embedded defaults, with real output: a state changes, the agent notices, keeps the version, replicates it
# under terraform's own lock, and brings an old version back. Everything happens in a temporary folder.
set -eu
bin=${STATEFERRY:-build/stateferry}
bin=$(cd "$(dirname "$bin")" && pwd)/$(basename "$bin")
dir=$(mktemp -d)
pid=
finish() {
	[ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || :; }
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM
cd "$dir"
mkdir live copy

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
show() {
	printf '$ stateferry %s\n' "$*"
	"$bin" "$@"
}

# Waits until the copy holds what the source holds; five seconds are more than enough.
arrived() {
	for _ in $(seq 50); do
		cmp -s live/network.tfstate copy/network.tfstate && return 0
		sleep 0.1
	done
	echo "the replica did not arrive" >&2
	cat agent.log >&2
	exit 1
}

# A state as terraform writes it: by terraform itself where there is one, else the same bytes by hand.
state() {
	serial=$1 n=$2
	{
		printf '{\n  "version": 4,\n  "terraform_version": "1.11.4",\n  "serial": %s,\n' "$serial"
		printf '  "lineage": "0b5c1c4e-8d4f-2f0f-5c1d-0a9f3f1b7a11",\n  "outputs": {},\n  "resources": ['
		i=0
		while [ "$i" -lt "$n" ]; do
			[ "$i" = 0 ] || printf ','
			printf '\n    {\n      "mode": "managed",\n      "type": "terraform_data",\n      "name": "subnet%s",\n' "$i"
			printf '      "provider": "provider[\\"terraform.io/builtin/terraform\\"]",\n      "instances": [\n        {\n'
			printf '          "schema_version": 0,\n          "attributes": {\n            "id": "10.0.%s.0"\n          }\n' "$i"
			printf '        }\n      ]\n    }'
			i=$((i + 1))
		done
		printf '\n  ],\n  "check_results": null\n}\n'
	} >live/network.tfstate
}

write() {
	if command -v terraform >/dev/null 2>&1; then
		mkdir -p tf
		cat >tf/main.tf <<-END
			terraform {
			  backend "local" {
			    path = "$dir/live/network.tfstate"
			  }
			}
			resource "terraform_data" "subnet" {
			  count = $2
			  input = "10.0.\${count.index}.0"
			}
		END
		(cd tf && terraform init -input=false -no-color >/dev/null 2>&1 &&
			terraform apply -auto-approve -input=false -no-color 2>/dev/null | grep '^Apply complete')
	else
		state "$1" "$2"
	fi
}

cat >stateferry.hcl <<END
agent {
  store = "store"
}
backend "local" "live" {
  dir = "live"
}
backend "local" "copy" {
  dir = "copy"
}
replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]
}
END
chmod 600 stateferry.hcl

say "A configuration: one folder with states, one that gets the replicas"
cat stateferry.hcl

say "The agent starts"
"$bin" run >agent.log 2>&1 &
pid=$!
for _ in $(seq 50); do
	grep -q ready agent.log && break
	sleep 0.1
done
grep ready agent.log

say "terraform applies: 3 resources, then 8"
write 1 3
arrived
write 2 8
arrived

say "The agent noticed, kept each version, and wrote it to the copy under terraform's lock"
grep -E 'watch|written' agent.log

say "What it knows"
show list
show log live:network.tfstate
first=$("$bin" --json log live:network.tfstate | sed -n 's/.*"version":\([0-9]*\),.*/\1/p' | tail -1)
first=${first:-1}

say "Somebody truncates the state: the damage is held back"
cp live/network.tfstate good
head -c 300 good >live/network.tfstate
sleep 3
show status || :
cmp -s good copy/network.tfstate && echo "the copy is untouched"
cp good live/network.tfstate

say "An old version comes back, with a serial from which terraform goes on"
show restore "live:network.tfstate@$first" --yes
arrived
show log live:network.tfstate
if [ -d tf ]; then
	sed -i 's/count = .*/count = 1/' tf/main.tf
	(cd tf && terraform plan -input=false -no-color 2>/dev/null | grep '^Plan' || :)
fi

say "All is well"
show sync
show status
