import { createSubscriber } from 'svelte/reactivity';

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 1000);
  return () => {
    clearInterval(timer);
  };
});

/** Milliseconds since 1970; what reads it is redrawn every second while it is on the screen. */
export function now(): number {
  subscribe();
  return Date.now();
}
