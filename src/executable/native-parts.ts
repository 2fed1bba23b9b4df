/**
 * The native parts at run time: unpacked once a process, loaded once a thread.
 *
 * Thread    prepareNatives() in main, before anything that needs one is loaded; loadNative() in any thread
 * Ordering  prepareNatives() -> threads are started: they inherit where the parts are
 */
import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { getRawAsset } from 'node:sea'
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads'
import { assert } from '../base/assert.ts'
import { type NativeFile, placeNatives } from './native-files.ts'

const FOLDER_KEY = 'millrace.nativeParts'
const HASH_CHARS = 12

const loaded = new Map<string, unknown>()

/** Puts the parts where they can be loaded from; `manifest` is what the build wrote: the files, the smallest first. */
export function prepareNatives(manifest: string): void {
  const files = JSON.parse(manifest) as NativeFile[]
  const smallest = files[0]
  const folder = placeNatives({
    files,
    read: (name) => new Uint8Array(getRawAsset(`native/${name}`) as ArrayBuffer),
    folders: nativeFolders(process.execPath, process.env, createHash('sha256').update(manifest).digest('hex')),
    tryLoad: (candidate) => {
      if (smallest !== undefined) loaded.set(smallest.name, load(join(candidate, smallest.name)))
    },
  })
  setEnvironmentData(FOLDER_KEY, folder)
}

/** Beside the executable, else below the user's cache; `hash` keeps builds apart. */
export function nativeFolders(executable: string, env: NodeJS.ProcessEnv, hash: string): string[] {
  const name = `millrace-native-${hash.slice(0, HASH_CHARS)}`
  const cache = env.XDG_CACHE_HOME || cacheOf(env.HOME || homeOfUser())
  return [dirname(executable), ...(cache === undefined ? [] : [cache])].map((parent) => join(parent, name))
}

function cacheOf(home: string | undefined): string | undefined {
  return home === undefined ? undefined : join(home, '.cache')
}

/** A container may run as a user that has no entry, and so no home. */
function homeOfUser(): string | undefined {
  try {
    return homedir()
  } catch {
    return undefined
  }
}

/** What the part exports. The build puts a call of this where a package requires a .node file. */
export function loadNative(name: string): unknown {
  if (!loaded.has(name)) {
    const folder = getEnvironmentData(FOLDER_KEY)
    assert(typeof folder === 'string', `${name} is loaded before prepareNatives()`)
    loaded.set(name, load(join(folder, name)))
  }
  return loaded.get(name)
}

function load(path: string): unknown {
  const module: { exports: unknown } = { exports: {} }
  process.dlopen(module, path)
  return module.exports
}
