import assert from 'node:assert/strict';
import { test } from 'node:test';
import { array, assert as check, constantFrom, property, stringMatching } from 'fast-check';
import { parseRepository } from '../../proto/oci/name.ts';
import { fitsGlob, isGlob } from './glob.ts';
import { isProjectName, parseRobotLogin, projectOf, robotLogin } from './project.ts';

test('the project of a repository is its first segment, or library', () => {
  assert.equal(projectOf('team/app'), 'team');
  assert.equal(projectOf('team/a/b'), 'team');
  assert.equal(projectOf('app'), 'library');
  assert.equal(projectOf('library/app'), 'library');
});

test('a project can be named as the first segment of a repository can, without a dot', () => {
  const segment = stringMatching(/^[a-z0-9_.-]{1,12}$/);
  check(
    property(segment, (name) => {
      let valid = !name.includes('.');
      try {
        parseRepository(`${name}/x`);
      } catch {
        valid = false;
      }
      assert.equal(isProjectName(name), valid, name);
    }),
  );
  for (const name of ['', 'a/b', 'A', 'a b', 'a'.repeat(129)]) {
    assert.equal(isProjectName(name), false, name);
  }
});

test('the login of a robot names its project, and nothing else does', () => {
  const robot = { project: 'my-team', name: 'ci.build' };
  assert.equal(robotLogin(robot), 'robot$my-team+ci.build');
  assert.deepEqual(parseRobotLogin('robot$my-team+ci.build'), robot);
  const others = ['robot', 'robot$', 'robot$+', 'robot$a', 'robot$a+', 'robot$+b', 'robot$a+b+c'];
  for (const text of [...others, 'my+ci', 'robot$A+b', 'robot$a/b+c']) {
    assert.equal(parseRobotLogin(text), undefined, text);
  }
});

test('a star stands for characters of one segment, two for any', () => {
  const fits: [string, string][] = [
    ['team/app', 'team/app'],
    ['team/*', 'team/app'],
    ['team/**', 'team/a/b'],
    ['**', 'app'],
    ['team/*-ci', 'team/web-ci'],
    ['team/*/x', 'team/a/x'],
    ['team/a**b', 'team/a/c/b'],
    ['team/a*', 'team/a'],
  ];
  for (const [glob, name] of fits) assert.equal(fitsGlob(glob, name), true, `${glob} ${name}`);
  const not: [string, string][] = [
    ['team/*', 'team/a/b'],
    ['team/*', 'teams/a'],
    ['team', 'team/app'],
    ['*', 'team/app'],
    ['team/**', 'team'],
    ['team/app', 'team/apps'],
    ['team/a.b', 'team/axb'],
    ['', 'a'],
  ];
  for (const [glob, name] of not) assert.equal(fitsGlob(glob, name), false, `${glob} ${name}`);
  for (const text of ['', 'Team/*', 'a?', 'a[b]', '(a|b)*', 'a'.repeat(256)]) {
    assert.equal(isGlob(text), false, text);
  }
});

test('patterns mean what the regular expression of the same meaning does', () => {
  const part = constantFrom('a', 'b', '/', '*', '**', '-');
  const text = array(constantFrom('a', 'b', '/', '-'), { maxLength: 8 });
  check(
    property(array(part, { minLength: 1, maxLength: 6 }), text, (parts, letters) => {
      const glob = parts.join('').replaceAll(/\*{3,}/g, '**');
      const source = glob.replaceAll(/\*+/g, (stars) => (stars === '*' ? '[^/]*' : '.*'));
      const name = letters.join('');
      assert.equal(fitsGlob(glob, name), new RegExp(`^${source}$`).test(name), `${glob} ${name}`);
    }),
  );
});

test('no pattern takes long', { timeout: 10_000 }, () => {
  const name = `team/${'a'.repeat(250)}`;
  for (let i = 0; i < 100; i++) assert.equal(fitsGlob(`team/${'*a'.repeat(120)}b`, name), false);
});
