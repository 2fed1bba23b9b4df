/** The version that processes tell is the one that npm and users see. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { VERSION } from '../../../src/model/version.ts'
import { repositoryRoot } from '../../support/repository.ts'

test("VERSION is package.json's", () => {
  const { version } = JSON.parse(readFileSync(join(repositoryRoot, 'package.json'), 'utf8')) as { version: string }
  assert.equal(VERSION, version)
})
