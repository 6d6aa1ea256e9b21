/** The pages behind --help. Each ends with a line feed. */

export const MAIN_HELP = `usage: flotilla COMMAND [--help]

Keeps a fleet supplied with container images: a hub holds the registry, an agent on every node
caches and shares image layers with its peers.

  hub [--config FILE]            run the hub
  hub join-token create          make a token with which agents enrol
  hub check [--hash] [--repair]  check the data of a hub that does not run
  gc run|status|list|restore     collect what nothing names, and take it back
  backup create|verify|restore   back a running hub up, look at a backup, put it back
  bundle export|import|verify|key
                                 carry signed images to a hub that is not reached
  purge DIGEST                   take content down, at the hub and on all nodes
  replication COMMAND            copy to and from other registries by rules
  prefetch IMAGE                 have nodes fetch an image before it is asked for
  agent [--config FILE]          run the agent of this node
  project, account, member, robot, node, keys
                                 administer a running hub; each has a page behind --help
  config check FILE              list everything that is wrong with a configuration
  config show --kind hub|agent   print every key with default, variable and meaning
  version [--json]               print what this is

exit codes: 0 done, 1 failed, 2 command line not understood, 69 hub not reachable, or in use by
its own process, or Node.js too old, 78 configuration not valid
`;

const CONFIG_NOTE = `
Every key of the file can also be given as FLOTILLA_<SECTION>_<KEY> in the environment, which wins
over the file; "flotilla config show" lists them. Without --config the defaults and the environment
are used. SIGTERM and SIGINT drain and exit 0; a second signal exits at once.
`;

export const HUB_HELP = `usage: flotilla hub [--config FILE]
       flotilla hub join-token create [--config FILE]
       flotilla hub check [--config FILE]

Runs the hub: the OCI registry, the coordinator of the fleet, and the metrics and health endpoints.
${CONFIG_NOTE}`;

export const AGENT_HELP = `usage: flotilla agent [--config FILE]

Runs the agent of this node: the mirror that containerd asks, the store, and the peer.
${CONFIG_NOTE}`;

export const JOIN_TOKEN_HELP = `usage: flotilla hub join-token create [--config FILE] [--url URL]
                                      [--uses N] [--expires 24h]

Asks the running hub for a token with which agents enrol, and prints it. Address and administrator
are taken from the hub's configuration; --url names another address of the same hub.

  --uses N        how many agents may enrol with it (default 1)
  --expires TIME  how long it is valid, such as 30m, 24h, 7d
                  (default: fleet.joinTokenLife)
`;

export const CHECK_HELP = `usage: flotilla hub check [--config FILE] [--hash] [--repair] [--adopt]
                          [--json]

Compares catalog and blobs of a hub that does not run, wherever its configuration says that they
are, and lists what is missing, short, corrupt, unknown to the catalog, left over from uploads, or
named by a manifest and not there.

  --hash    read and hash every blob
  --repair  remove what nobody knows or goes on with; move aside what is no blob; take from the
            catalog what is not there or was moved, so that clients push it again
  --adopt   of several hubs on one PostgreSQL with blobs in folders: this data folder has them from
            now on, because the one before is gone for good
  --json    print the report as JSON

exit codes: 0 nothing wrong, or all of it repaired; 1 something wrong; 69 a hub runs
`;

export const BACKUP_HELP = `usage: flotilla backup create --to FOLDER [--incremental]
                              [--catalog-only] [--include-keys] [--config FILE] [--url URL]
       flotilla backup verify FOLDER [--quick] [--json]
       flotilla backup restore FOLDER [--data-dir FOLDER] [--config FILE]
                               [--keep-rights | --rights-from FOLDER] [--purged FILE]
                               [--keys FILE | --new-keys] [--replace]

create asks a running hub, here or elsewhere, for all that it has, while it goes on: everything that
was pushed before the start is in the backup, whole. Interrupted, the same command goes on.
  --incremental   bring the backup in FOLDER up to date; only blobs that are new are copied
  --catalog-only  no blobs, for storage that is backed up in another way
  --include-keys  with the private keys of the fleet, out of the data folder of the configuration

verify reads every byte of a backup and names what is wrong with it.
  --quick         look at the sizes of blobs only
  --json          print the report as JSON

restore makes the data of a hub that does not run out of a backup: in the data folder, database and
bucket of the configuration. What was ended after the backup was made (accounts and robots disabled
or deleted, projects hidden, nodes revoked) is not in it. So without the first two options nobody
but the admin has rights afterwards, and nodes join again.
  --keep-rights        as in the backup: nothing was ended since, as when a hub moves
  --rights-from FOLDER as in a newer backup of the same hub; one with --catalog-only will do
  --purged FILE        digests that were taken down since, one in a line
  --keys FILE          the fleet's key ring, unless it is in the data folder or in the backup
  --new-keys           the key ring is lost: begin a fleet that every node joins again
  --replace            move a catalog and blobs that are in the data folder out of the way

exit codes: 0 done, 1 failed, or something is wrong with the backup; 69 hub not reachable, or in use
`;

export const GC_HELP = `usage: flotilla gc run [--wait] [--dry-run]
       flotilla gc status
       flotilla gc list
       flotilla gc restore DIGEST

Asks the running hub as its administrator; all take --config FILE, --url URL and --json.

  run      collect now what nothing has named for gc.grace; the hub does it in the background
             --wait     until it has ended, and print what it did
             --dry-run  list what it would take now, and take nothing
  status   whether a collection goes on, and how the last one went
  list     blobs that were collected and whose bytes are kept for gc.quarantine
  restore  give such a blob back to the repositories that had it

exit codes: 0 done, 1 refused or, with --wait, not ended well
`;

export const REPLICATION_HELP = `usage: flotilla replication COMMAND [--json]
                                   [--config FILE] [--url URL]

  registries            the registries of the configuration that rules may name
  rules                 the rules: name, on or off, direction, registry, repositories, next time
  show RULE             one rule with all its settings
  create FILE           make the rule in a file of YAML or JSON: name, enabled, settings
  change FILE           give a rule the settings in a file
  enable, disable RULE  switch its schedule and its following of pushes on or off
  delete RULE           delete a rule; an execution that runs goes on
  run RULE [--wait]     copy now what the rule chooses
  list [--rule RULE]    executions, the newest first
  status EXECUTION [--wait]
                        how far an execution is, and why its last attempt failed
  artifacts EXECUTION [--state STATE]
                        what became of each artifact: repository, reference, destination, state,
                        bytes sent, and why
  stop EXECUTION        stop it; what was copied stays

  --wait        until it has ended; what makes it try again goes to the standard error
  --rule RULE   only executions of this rule (default: of all)
  --state STATE only artifacts that are copying, copied, present, skipped, refused, failed or
                deleted (default: all)
  --json        print what is found as JSON, one line for each

A rule in a file, for "create nightly.yaml"; the times of a schedule are in UTC:
  name: nightly
  settings:
    direction: pull
    registry: other
    repositories: [team/*]
    schedule: 0 3 * * *

Asks the running hub as its administrator.

exit codes: 0 done, 1 refused or, with --wait, not ended well
`;

export const BUNDLE_HELP = `usage: flotilla bundle export --out FILE|FOLDER [--since EARLIER]
                              [--platform OS/ARCH]... [--config FILE] [--url URL] IMAGE...
       flotilla bundle import FILE|FOLDER [--to PREFIX] [--trust KEYFILE]...
                              [--config FILE] [--url URL]
       flotilla bundle verify FILE|FOLDER [--trust KEYFILE]... [--config FILE]
       flotilla bundle key [--rotate | --revoke] [--config FILE] [--url URL]

export asks a running hub for images, written REPOSITORY:TAG or REPOSITORY@DIGEST, with all that
refers to them (signatures, SBOMs, attestations), and writes them as an OCI image layout in a tar
archive, or in a folder, which other tools read too. The hub signs the list of what is in it.
Interrupted, the same command goes on.
  --out FILE|FOLDER    where it is written: a folder when it is one, or ends with a slash
  --since EARLIER      leave out the layers of an earlier bundle of this hub, which the importer
                       must have imported; its bundle.json and bundle.sig are enough
  --platform OS/ARCH   only these platforms of images that have several, such as linux/arm64; may
                       be repeated (default: all); a hub imports such a bundle when it has
                       registry.sparseIndexes set

import reads all of a bundle, and pushes it when it is whole and signed by an exporter whose key is
configured in bundles.trustedKeys or given. Tags are set at the end. Interrupted, the same command
goes on; what the hub has is not sent again.
  --to PREFIX          put the repositories below this one (default: names stay as they are)
  --trust KEYFILE      believe this exporter, too; may be repeated

verify reads all of a bundle in the same way and pushes nothing.

key prints what importers have to know of this hub, as a KEYFILE; compare its fingerprint by
another way than that on which the file travels.
  --rotate             sign with a new key from now on; earlier bundles are still believed
  --revoke             what the old key signed is no longer believed where the new KEYFILE is known

exit codes: 0 done, 1 failed, or something is wrong with the bundle; 69 hub not reachable
`;

export const PREFETCH_HELP = `usage: flotilla prefetch IMAGE [--nodes TERMS] [--percent N]
                         [--copies N] [--platform P]... [--expires TIME]
                         [--reach TIME] [--wait]
       flotilla prefetch list
       flotilla prefetch show ID [--wait]
       flotilla prefetch stop ID
       flotilla prefetch policies
       flotilla prefetch policy|run|delete NAME
       flotilla prefetch put FILE

Asks the running hub, as its administrator, to have nodes fetch an image before a runtime asks for
it; all take --config FILE, --url URL and --json. A tag counts as what it is now. Nodes fetch from
each other and from the hub, behind everything that somebody waits for (bandwidth.prefetch of the
agent), and only what fits below the high-water mark of their store. An image that is called like a
command is written with its tag.

A policy orders by itself, whenever a tag that fits it is set, or by cron: put makes or changes the
one in a file of YAML or JSON, with name, repository, tag, onPush: true or cron, and what an order
says (nodes, percent, copies, platforms); run orders now what it names.

  --nodes TERMS    such as zone=a, node=gpu-* or both with a comma (default: every node)
  --percent N      only this part of them, 1 to 100; a repeat chooses the same ones
                   (default: all of them)
  --copies N       so many of them, kept as nodes come and go until the order expires; not with
                   --percent
  --platform P     such as linux/amd64, of an image of several; all for every one; may be
                   repeated (default: that of each node)
  --expires TIME   how long nodes may take, and copies are kept, such as 30m or 7d (default 24h)
  --reach TIME     a node that is silent for longer is not reached, 1s to 24h (default 1m)
  --wait           tell how far each node is, until all have it, have failed or are not reached

exit codes: 0 done, 1 refused or, with --wait, not on all nodes, which are named
`;

export const PURGE_HELP = `usage: flotilla purge DIGEST [--wait TIME] [--lift]
                      [--config FILE] [--url URL]

Has the running hub take a blob or manifest down: it is gone from every repository, refused in
pushes, and removed by the agents. Waits a minute for them and names the nodes that were not
reached; those remove it when they next reach the hub. Done again, it waits again.

  --wait TIME  for the nodes, such as 0s or 10m, instead of a minute
  --lift       let the content be pushed again

exit codes: 0 every node was reached, 1 some were not
`;

export const CONFIG_HELP = `usage: flotilla config check FILE [--kind hub|agent]
       flotilla config show --kind hub|agent

check reads the file and the environment as the program would, and lists every problem with its
line, its key and the nearest known key. Exit code 0 when valid, 78 when not.
show prints every key with its type, default, environment variable and meaning.
`;

export const VERSION_HELP = `usage: flotilla version [--json]

Prints the version, the source revision and the Node.js version.
`;
