//! Writes as typed commands, and their type-erased form that the writers pass around.

use super::{DbError, Tx};
use futures_util::future::BoxFuture;
use std::{any::Any, future::Future};
use tokio::sync::oneshot;

/// A write. It runs in a transaction (PostgreSQL) or in a savepoint of a group commit (SQLite), sees only the
/// database, and may be run again after a deadlock: it must not change anything outside `tx`.
pub trait Command: Send + Sync + 'static {
    /// What the caller gets once it is durable.
    type Output: Send + 'static;
    /// Why it did not happen. Returning an error rolls the command back.
    type Error: From<DbError> + Send + 'static;

    /// Does the write.
    fn run(&self, tx: &mut Tx) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// A hot command that has a multi-row form.
pub trait BatchCommand: Command + Sized {
    /// Does all of `commands` at once and gives one output for each, in their order. On an error nothing of them
    /// stays and each is run on its own, so that one bad row does not take the others with it.
    fn run_all(commands: &[&Self], tx: &mut Tx) -> impl Future<Output = Result<Vec<Self::Output>, DbError>> + Send;
}

/// Runs a group of commands of one type. The group holds only [`Pending`] of that type.
pub(super) type GroupRunner = for<'a> fn(&'a mut [Box<dyn Erased>], &'a mut Tx) -> BoxFuture<'a, Result<(), DbError>>;

/// A command on its way through a writer.
pub(super) trait Erased: Send {
    /// Runs it and keeps the result; says whether it is to stay.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool>;
    /// Answers the caller: with the kept result after a commit, otherwise with the error.
    fn answer(self: Box<Self>, committed: Result<(), DbError>);
    /// How to run several of this type at once, if there is a way.
    fn group_runner(&self) -> Option<GroupRunner>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// A command, its result so far, and who waits for it.
pub(super) struct Pending<C: Command> {
    command: C,
    result: Option<Result<C::Output, C::Error>>,
    caller: oneshot::Sender<Result<C::Output, C::Error>>,
    group_runner: Option<GroupRunner>,
}

/// What the caller of a command waits on.
pub(super) type Answer<C> = oneshot::Receiver<Result<<C as Command>::Output, <C as Command>::Error>>;

impl<C: Command> Pending<C> {
    pub(super) fn alone(command: C) -> (Box<dyn Erased>, Answer<C>) {
        let (caller, answer) = oneshot::channel();
        (Box::new(Self { command, result: None, caller, group_runner: None }), answer)
    }
}

impl<C: BatchCommand> Pending<C> {
    pub(super) fn groupable(command: C) -> (Box<dyn Erased>, Answer<C>) {
        let (caller, answer) = oneshot::channel();
        (Box::new(Self { command, result: None, caller, group_runner: Some(run_group::<C>) }), answer)
    }
}

fn run_group<'a, C: BatchCommand>(
    group: &'a mut [Box<dyn Erased>],
    tx: &'a mut Tx,
) -> BoxFuture<'a, Result<(), DbError>> {
    Box::pin(async move {
        let outputs = {
            let commands: Vec<&C> = group
                .iter()
                .filter_map(|erased| erased.as_any().downcast_ref::<Pending<C>>())
                .map(|pending| &pending.command)
                .collect();
            C::run_all(&commands, tx).await?
        };
        if outputs.len() != group.len() {
            return Err(DbError::Refused { code: "group".to_owned() });
        }
        for (erased, output) in group.iter_mut().zip(outputs) {
            if let Some(pending) = erased.as_any_mut().downcast_mut::<Pending<C>>() {
                pending.result = Some(Ok(output));
            }
        }
        Ok(())
    })
}

impl<C: Command> Erased for Pending<C> {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let result = self.command.run(tx).await;
            let stays = result.is_ok();
            self.result = Some(result);
            stays
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), DbError>) {
        let result = match (committed, self.result) {
            (Err(error), None | Some(Ok(_))) => Err(error.into()),
            (_, Some(result)) => result,
            (Ok(()), None) => Err(DbError::Unavailable { reason: "the command was not run" }.into()),
        };
        // A caller that has gone away does not undo what is committed.
        let _ = self.caller.send(result);
    }

    fn group_runner(&self) -> Option<GroupRunner> {
        self.group_runner
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
