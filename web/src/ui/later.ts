/**
 * Everything that is not on the first screen. One chunk, fetched right after the first screen stands: the page is
 * usable sooner, and nothing is fetched at the moment of need, when the server may be out of reach.
 */
export { default as Sheets } from './Sheets.svelte';
export { default as SettingsScreen } from './settings/SettingsScreen.svelte';
export { default as TextScreen } from './text/TextScreen.svelte';
export { default as TransfersScreen } from './transfers/TransfersScreen.svelte';
export { default as KeptNote } from './transfers/KeptNote.svelte';
