// Where what is random in a run begins.

export const seed = Number(process.env["LANYARD_SEED"] ?? Date.now() % 1_000_000_007);

/** So that a run that failed can be repeated. */
export function tellSeed(): void {
  console.log(`seed: ${seed} (LANYARD_SEED repeats it)`);
}
