import type { Actions, Model } from './model';

type Calls = { [Name in keyof Actions]: (...asked: Parameters<Actions[Name]>) => void };

/**
 * What a person may ask for while the application is still being loaded. It is carried out, in order, once it is there;
 * the answer to a link, which may come first of all, is shown at once.
 */
export function awaitedActions(model: Model, running: Promise<Actions>): Actions {
  let awaiting = true;
  void running.then(() => {
    awaiting = false;
  });
  const later =
    <Name extends keyof Actions>(name: Name) =>
    (...asked: Parameters<Calls[Name]>): void => {
      void running.then((actions: Calls) => {
        actions[name](...asked);
      });
    };
  const openInvitation = later('openInvitation');
  const dismissInvitation = later('dismissInvitation');
  return {
    rename: later('rename'),
    setVisible: later('setVisible'),
    openInvitation: () => {
      if (awaiting && model.invitation !== null) model.invitation.state = 'connecting';
      openInvitation();
    },
    dismissInvitation: () => {
      if (awaiting) model.invitation = null;
      dismissInvitation();
    },
    enterCode: later('enterCode'),
    makeInvite: later('makeInvite'),
    dropInvite: later('dropInvite'),
    extendInvite: later('extendInvite'),
    remember: later('remember'),
    setPolicy: later('setPolicy'),
    forget: later('forget'),
    forgetKnownName: later('forgetKnownName'),
    connect: later('connect'),
    pickRow: later('pickRow'),
    confirmPictures: later('confirmPictures'),
    disconnect: later('disconnect'),
    sendFiles: later('sendFiles'),
    sendText: later('sendText'),
    acceptOffer: later('acceptOffer'),
    declineOffer: later('declineOffer'),
    downloadOffer: later('downloadOffer'),
    extendOffer: later('extendOffer'),
    pause: later('pause'),
    resume: later('resume'),
    carryOn: later('carryOn'),
    pickAgain: later('pickAgain'),
    sendFailedAgain: later('sendFailedAgain'),
    cancelFile: later('cancelFile'),
    cancel: later('cancel'),
    saveFile: later('saveFile'),
    saveAll: later('saveAll'),
    removeCopy: later('removeCopy'),
    dismissText: later('dismissText'),
    dismissToast: later('dismissToast'),
  };
}
