/** What a hosts.toml for one registry says. */
export type HostsFile = {
  /** Base URL of this node's mirror, such as `http://127.0.0.1:7410`. */
  mirrorUrl: string;
  /** Where containerd goes when the mirror has no answer: the registry itself. */
  serverUrl: string;
  /**
   * False for registries with private content: tags, and thus rights, are then asked at the
   * registry with the pod's own credentials, and only bytes come through the mirror.
   */
  resolve: boolean;
};

/** Loopback connects or refuses at once; the default of 30 s would hold every pull. */
const DIAL_TIMEOUT = '1s';

/**
 * The folder below containerd's `config_path` that belongs to a registry host: `docker.io` as it
 * is, `hub.example:7400` as `hub.example_7400_`, which works on every file system.
 */
export function hostsDirectory(registryHost: string): string {
  const colon = registryHost.lastIndexOf(':');
  const hasPort = colon > 0 && !registryHost.endsWith(']');
  if (!hasPort) return registryHost;
  return `${registryHost.slice(0, colon)}_${registryHost.slice(colon + 1)}_`;
}

/**
 * Text of `<config_path>/<hostsDirectory>/hosts.toml`: the mirror first, then the registry.
 * containerd reads it at every pull, no restart is needed. Versions that do not know
 * `dial_timeout` ignore it.
 */
export function hostsToml(file: HostsFile): string {
  const capabilities = file.resolve ? '["pull", "resolve"]' : '["pull"]';
  return [
    '# Pulls go through the Flotilla agent of this node, then to the registry itself.',
    `server = ${tomlString(file.serverUrl)}`,
    '',
    `[host.${tomlString(file.mirrorUrl)}]`,
    `  capabilities = ${capabilities}`,
    `  dial_timeout = "${DIAL_TIMEOUT}"`,
    '',
  ].join('\n');
}

/** A TOML basic string; its escapes are those of JSON. */
function tomlString(text: string): string {
  return JSON.stringify(text);
}
