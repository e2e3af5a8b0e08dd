/** Ends a `switch` over a union: the compiler proves that nothing is left. */
export function assertNever(value: never): never {
  throw new Error(`unhandled variant: ${JSON.stringify(value)}`);
}
