import { notAvailable } from '../errors.ts'
export async function showConfig(): Promise<void> {
  throw notAvailable('config show')
}
export async function validateConfig(): Promise<void> {
  throw notAvailable('config validate')
}
export async function showProfiles(): Promise<void> {
  throw notAvailable('config profiles')
}
