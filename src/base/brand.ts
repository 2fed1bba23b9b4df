/** A scalar that must not be mixed up with another of the same type: `type Offset = Brand<number, 'Offset'>`. */
declare const brand: unique symbol
export type Brand<T, Name extends string> = T & { readonly [brand]: Name }
