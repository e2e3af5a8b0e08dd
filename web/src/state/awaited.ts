import type { Actions } from './model';

type Calls = { [Name in keyof Actions]: (...asked: Parameters<Actions[Name]>) => void };

/**
 * What a person may ask for while the application is still being loaded. It is carried out, in order, once it is there.
 */
export function awaitedActions(running: Promise<Actions>): Actions {
  const later =
    <Name extends keyof Actions>(name: Name) =>
    (...asked: Parameters<Calls[Name]>): void => {
      void running.then((actions: Calls) => {
        actions[name](...asked);
      });
    };
  return {
    rename: later('rename'),
    setVisible: later('setVisible'),
    openInvitation: later('openInvitation'),
    dismissInvitation: later('dismissInvitation'),
    enterCode: later('enterCode'),
    makeInvite: later('makeInvite'),
    dropInvite: later('dropInvite'),
    connect: later('connect'),
    pickRow: later('pickRow'),
    confirmPictures: later('confirmPictures'),
    disconnect: later('disconnect'),
    sendFiles: later('sendFiles'),
    sendText: later('sendText'),
    acceptOffer: later('acceptOffer'),
    declineOffer: later('declineOffer'),
    extendOffer: later('extendOffer'),
    pause: later('pause'),
    resume: later('resume'),
    cancel: later('cancel'),
    saveFile: later('saveFile'),
    saveAll: later('saveAll'),
    removeCopy: later('removeCopy'),
    dismissText: later('dismissText'),
    dismissToast: later('dismissToast'),
  };
}
