/** The version of this Millrace: package.json's (a test compares them), here so that no process has to find that file. */
export const VERSION = '0.1.0'
