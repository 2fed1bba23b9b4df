/**
 * Standard Schema v1 (https://standardschema.dev): what schema libraries (zod, valibot, arktype, …) have in common, as an
 * interface of our own, so that any of them works here and none is a dependency.
 */
import { MillraceError } from '../model/errors.ts'
import { promiseOf } from './promise-of.ts'

export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    /** Never there at run time: carries the types. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

export type SchemaInput<Schema extends StandardSchema> = NonNullable<Schema['~standard']['types']>['input']
export type SchemaOutput<Schema extends StandardSchema> = NonNullable<Schema['~standard']['types']>['output']

/** Issues that an error's text names; the rest are counted. */
const ISSUES_NAMED_MAX = 3

/** Throws INVALID_ARGUMENT unless `schema` is one. */
export function checkedSchema<Schema extends StandardSchema>(schema: Schema): Schema {
  const standard = (schema as Partial<StandardSchema> | null)?.['~standard']
  if (standard?.version === 1 && typeof standard.validate === 'function') return schema
  throw new MillraceError(
    'INVALID_ARGUMENT',
    "json() takes a Standard Schema v1, an object with a '~standard' property as zod, valibot and arktype make them",
  )
}

/**
 * What the schema makes of `value`. Throws INVALID_RECORD with the issues, as text and as `cause`, and INVALID_ARGUMENT for a
 * schema that validates asynchronously: records are encoded and decoded without waiting.
 */
export function validated<Output>(schema: StandardSchema<unknown, Output>, value: unknown): Output {
  const result = schema['~standard'].validate(value)
  if ('then' in result) {
    promiseOf(result)?.catch(() => {})
    throw new MillraceError(
      'INVALID_ARGUMENT',
      'the schema validates asynchronously; records take schemas that answer at once: validate before send() or after receipt',
    )
  }
  if (result.issues === undefined) return result.value
  throw new MillraceError('INVALID_RECORD', `does not match its schema: ${describe(result.issues)}`, {
    cause: result.issues,
  })
}

function describe(issues: readonly SchemaIssue[]): string {
  const named = issues.slice(0, ISSUES_NAMED_MAX).map((issue) => {
    const path = (issue.path ?? []).map((step) => String(typeof step === 'object' ? step.key : step)).join('.')
    return path === '' ? issue.message : `${path}: ${issue.message}`
  })
  const more = issues.length - named.length
  return named.join('; ') + (more > 0 ? `; and ${more} more` : '')
}
