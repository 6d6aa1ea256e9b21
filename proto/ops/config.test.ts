import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Type } from 'typebox';
import { ByteSize, ConfigError, Duration, Listen, Port, Secret, loadConfig } from './config.ts';
import type { ConfigInput } from './config.ts';

const schema = Type.Object({
  log: Type.Object({
    level: Type.Union([Type.Literal('info'), Type.Literal('debug')], {
      default: 'info',
      description: 'How much is written.',
    }),
  }),
  http: Type.Object({
    listen: Type.Array(Listen({ description: 'Where to listen.' }), {
      default: [':7400'],
      maxItems: 4,
      description: 'Where to listen.',
    }),
    externalUrl: Type.Optional(Type.String({ description: 'How clients reach us.' })),
    bodyTimeout: Duration({ default: '20s', minimum: 1_000, description: 'Idle body limit.' }),
    port: Port({ default: 7412, description: 'A port.' }),
    trustProxy: Type.Boolean({ default: false, description: 'Believe forwarding headers.' }),
  }),
  store: Type.Object({
    dir: Type.String({ description: 'Folder of the store.' }),
    quota: ByteSize({ default: '10GiB', minimum: 1024, description: 'Bytes to keep.' }),
  }),
  tls: Type.Optional(
    Type.Object({ certFile: Type.String({ description: 'PEM file.' }), key: Secret(secretDoc()) }),
  ),
  upstreams: Type.Array(
    Type.Object({
      host: Type.String({ description: 'Registry host.' }),
      wait: Duration({ default: '5s', description: 'Limit.' }),
    }),
    { default: [], description: 'Upstream registries.' },
  ),
});

function secretDoc(): { description: string } {
  return { description: 'Private.' };
}

const base = 'store: { dir: /data }\n';

function problemsOf(input: Partial<ConfigInput>): string[] {
  try {
    loadConfig(schema, { env: {}, source: 'a.yaml', ...input });
  } catch (err) {
    assert.ok(err instanceof ConfigError, String(err));
    return err.data.problems.map((problem) => {
      const origin = problem.origin;
      const where = origin === undefined ? '' : 'env' in origin ? origin.env : `${origin.line}`;
      return `${where}|${problem.path}|${problem.message}`;
    });
  }
  return [];
}

test('defaults fill what the file leaves out, sizes and times become numbers', () => {
  const config = loadConfig(schema, { text: base, env: {} });
  assert.equal(config.http.bodyTimeout, 20_000);
  assert.equal(config.store.quota, 10 * 1024 ** 3);
  assert.deepEqual(config.http.listen, [':7400']);
  assert.equal(config.log.level, 'info');
  assert.ok(!('tls' in config));
  assert.ok(!('externalUrl' in config.http));
});

test('the environment wins over the file, lists are separated by commas', () => {
  const config = loadConfig(schema, {
    text: `${base}http: { listen: [':1'], port: 5, trustProxy: false }\n`,
    env: {
      FLOTILLA_HTTP_LISTEN: '127.0.0.1:1, [::1]:2',
      FLOTILLA_HTTP_PORT: '9',
      FLOTILLA_HTTP_TRUST_PROXY: 'true',
      FLOTILLA_STORE_QUOTA: '2MiB',
      FLOTILLA_UPSTREAMS: '[{host: quay.example, wait: 1s}]',
      FLOTILLA_STORE_DIR: '',
    },
  });
  assert.deepEqual(config.http.listen, ['127.0.0.1:1', '[::1]:2']);
  assert.equal(config.http.port, 9);
  assert.equal(config.http.trustProxy, true);
  assert.equal(config.store.quota, 2 * 1024 ** 2);
  assert.equal(config.store.dir, '/data');
  assert.deepEqual(config.upstreams, [{ host: 'quay.example', wait: 1_000 }]);
});

test('an optional section appears when only the environment names it', () => {
  const env = { FLOTILLA_TLS_CERT_FILE: '/c', FLOTILLA_TLS_KEY: 'k' };
  const config = loadConfig(schema, { text: base, env });
  assert.deepEqual(config.tls, { certFile: '/c', key: 'k' });
});

test('every problem is listed with its line, its key and the nearest known key', () => {
  const text = [
    'store:',
    '  quotta: 5GiB',
    'http:',
    '  lisen: [":1"]',
    '  bodyTimeout: 30',
    '  port: 70000',
    'listen: [":2"]',
    'log: { level: debgu }',
  ].join('\n');
  assert.deepEqual(problemsOf({ text }), [
    '7|listen|unknown key; did you mean http.listen?',
    '8|log.level|must be one of info, debug, not "debgu"; did you mean debug?',
    '4|http.lisen|unknown key; did you mean http.listen?',
    '5|http.bodyTimeout|must be a duration such as 30s, not 30',
    '6|http.port|must be <= 65535, not 70000',
    '2|store.quotta|unknown key; did you mean store.quota?',
    '1|store.dir|is required: Folder of the store.',
  ]);
});

test('faults inside lists are named by position', () => {
  const text = `${base}upstreams:\n  - host: a\n  - hots: b\n    wait: soon\n`;
  assert.deepEqual(problemsOf({ text }), [
    '4|upstreams[1].hots|unknown key; did you mean upstreams[1].host?',
    '4|upstreams[1].host|is required: Registry host.',
    '5|upstreams[1].wait|must be a duration such as 30s, not "soon"',
  ]);
});

test('a variable that names no key stops the start, service links do not', () => {
  const env = {
    FLOTILLA_HTTP_LISTN: ':1',
    FLOTILLA_STORE_SERVICE_HOST: '10.0.0.1',
    FLOTILLA_HTTP_PORT_7400_TCP: 'tcp://10.0.0.1:7400',
    FLOTILLA_STOER_QUOTA: '1GiB',
    FLOTILLA_NODE: '/usr/bin/node',
    FLOTILLA_HTTP_PORT: 'many',
  };
  assert.deepEqual(problemsOf({ text: base, env }), [
    'FLOTILLA_HTTP_PORT|http.port|must be integer, not "many"',
    'FLOTILLA_HTTP_LISTN||unknown variable; did you mean FLOTILLA_HTTP_LISTEN?',
    'FLOTILLA_STOER_QUOTA||unknown variable; did you mean FLOTILLA_STORE_QUOTA?',
  ]);
});

test('values out of bounds and of the wrong shape say what is wanted', () => {
  const text = `store: { dir: 5, quota: 1 }\nhttp: { listen: [':x'], bodyTimeout: 1ms }\ntls: no\n`;
  assert.deepEqual(problemsOf({ text }), [
    '2|http.listen[0]|":x" is not a listen address; write 127.0.0.1:7410, [::1]:7410 or :7400',
    '2|http.bodyTimeout|must be at least 1s, not "1ms"',
    '1|store.dir|must be a text, not 5; put it in quotes',
    '1|store.quota|must be at least 1KiB, not 1',
    '3|tls|must be a section with keys below it',
  ]);
});

test('a secret never appears in a problem', () => {
  for (const secret of ['{ nested: 90210 }', '90210', '[90210]']) {
    const problems = problemsOf({ text: `${base}tls: { certFile: /c, key: ${secret} }\n` });
    assert.deepEqual(problems, ['2|tls.key|must be a text; put it in quotes']);
  }
});

test('duplicate keys and broken YAML are refused with their line', () => {
  assert.match(
    problemsOf({ text: 'store: {dir: a}\nstore: {dir: b}\n' })[0] ?? '',
    /^2\|\|not valid/,
  );
  assert.match(problemsOf({ text: 'store: [\n' })[0] ?? '', /not valid YAML/);
  assert.match(problemsOf({ text: 'a: 1\n---\nb: 2\n' })[0] ?? '', /not valid YAML/);
});

test('a configuration of the other program is refused by its kind', () => {
  const problems = problemsOf({ text: `kind: agent\n${base}`, kind: 'hub' });
  assert.deepEqual(problems, ['1|kind|this is a configuration for the agent, not for the hub']);
  assert.deepEqual(problemsOf({ text: `kind: hub\n${base}`, kind: 'hub' }), []);
});

test('a key called __proto__ is an unknown key', () => {
  assert.match(problemsOf({ text: `${base}__proto__: { a: 1 }\n` })[0] ?? '', /unknown key/);
});

test('a text taken for an alias is a problem of the file, and is not repeated', () => {
  for (const text of [
    'tls: { certFile: a, key: *hunter2 }',
    `a: &a [1]\nb: [${'*a,'.repeat(999)}]`,
  ]) {
    assert.throws(
      () => loadConfig(schema, { text, source: 'hub.yaml', env: {} }),
      (err: unknown) =>
        err instanceof ConfigError && /alias/.test(err.message) && !/hunter2/.test(err.message),
    );
  }
});
