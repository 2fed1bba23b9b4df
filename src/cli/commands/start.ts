import { notAvailable } from '../errors.ts'
export async function start(): Promise<void> {
  throw notAvailable('start')
}
