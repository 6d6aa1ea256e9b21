import { test } from 'node:test';
import { uploadThroughKills } from './kills.ts';

test('an upload goes on after the hub was killed in the midst of it, twice', (t) =>
  uploadThroughKills(t));
