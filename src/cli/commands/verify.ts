import { notAvailable } from '../errors.ts'
export async function verify(): Promise<void> {
  throw notAvailable('verify')
}
