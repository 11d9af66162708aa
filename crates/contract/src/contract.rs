use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_proto::protos;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arguments::{parse, render};
use crate::context::Context;
use crate::{Error, Result};

/// The status of an answer that worked.
pub(crate) const OK: i32 = 200;
/// The status of an answer that did not.
pub(crate) const ERROR: i32 = 500;

type Call = Arc<dyn Fn(&Context, &[Bytes]) -> Result<Bytes> + Send + Sync>;

/// A smart contract: functions by name.
#[derive(Clone)]
pub struct Contract {
    name: String,
    functions: BTreeMap<String, Call>,
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contract").field("name", &self.name).field("functions", &self.functions.keys()).finish()
    }
}

/// A function that can be called with `Arguments`, a tuple of what it takes after the context. Implemented for all
/// functions `fn(&Context, A, B, ..) -> Result<R>` of up to eight arguments that serde can read.
pub trait Function<Arguments>: Send + Sync + 'static {
    /// How many arguments it takes.
    const COUNT: usize;

    /// Reads the arguments, calls the function, writes the result.
    fn call(&self, context: &Context, arguments: &[Bytes]) -> Result<Bytes>;
}

macro_rules! function {
    ($count:literal $($argument:ident $index:tt),*) => {
        impl<F, R, $($argument),*> Function<($($argument,)*)> for F
        where
            F: Fn(&Context, $($argument),*) -> Result<R> + Send + Sync + 'static,
            R: Serialize,
            $($argument: DeserializeOwned,)*
        {
            const COUNT: usize = $count;

            fn call(&self, context: &Context, arguments: &[Bytes]) -> Result<Bytes> {
                let _ = arguments;
                let result = self(context, $(argument::<$argument>(arguments, $index)?),*)?;
                Ok(render(&result)?)
            }
        }
    };
}

function!(0);
function!(1 A 0);
function!(2 A 0, B 1);
function!(3 A 0, B 1, C 2);
function!(4 A 0, B 1, C 2, D 3);
function!(5 A 0, B 1, C 2, D 3, E 4);
function!(6 A 0, B 1, C 2, D 3, E 4, G 5);
function!(7 A 0, B 1, C 2, D 3, E 4, G 5, H 6);
function!(8 A 0, B 1, C 2, D 3, E 4, G 5, H 6, I 7);

fn argument<T: DeserializeOwned>(arguments: &[Bytes], index: usize) -> Result<T> {
    let argument = arguments.get(index).map(Bytes::as_ref).unwrap_or_default();
    parse(argument)
        .map_err(|error| Error::new(format!("Error managing parameter param{index}. Conversion error. {error}")))
}

impl Contract {
    /// A contract without functions. Clients may, but need not, call its functions by `name:function`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), functions: BTreeMap::new() }
    }

    /// Adds a function. The last one of a name counts.
    pub fn function<Arguments, F: Function<Arguments>>(mut self, name: impl Into<String>, function: F) -> Self {
        let call = move |context: &Context, arguments: &[Bytes]| {
            if arguments.len() != F::COUNT {
                let (expected, received) = (F::COUNT, arguments.len());
                return Err(Error::new(format!(
                    "Incorrect number of params. Expected {expected}, received {received}"
                )));
            }
            function.call(context, arguments)
        };
        self.functions.insert(name.into(), Arc::new(call));
        self
    }

    /// Adds a function that takes its arguments and gives its result as bytes, however many arguments there are.
    pub fn raw_function(
        mut self,
        name: impl Into<String>,
        function: impl Fn(&Context, &[Bytes]) -> Result<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.functions.insert(name.into(), Arc::new(function));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs one transaction to its end: the answer, and the event of a transaction that worked.
    pub(crate) fn execute(&self, context: &Context) -> (protos::Response, Option<protos::ChaincodeEvent>) {
        // A panic fails the transaction, not the process that serves others.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| self.call(context)))
            .unwrap_or_else(|panic| Err(Error::new(format!("the contract panicked: {}", panic_text(&*panic)))));
        let outcome = outcome.and_then(|payload| context.flush().map(|()| payload));
        match outcome {
            Ok(payload) => {
                let (status, message) = context.take_status();
                let response = protos::Response { status, message, payload };
                (response, context.take_event())
            }
            Err(error) => {
                let response = protos::Response { status: ERROR, message: error.to_string(), payload: Bytes::new() };
                (response, None)
            }
        }
    }

    fn call(&self, context: &Context) -> Result<Bytes> {
        let (function, arguments) =
            context.arguments().split_first().ok_or_else(|| Error::new("Blank function name passed"))?;
        let function = std::str::from_utf8(function).map_err(|_| Error::new("the function name is no UTF-8 text"))?;
        let unqualified = match function.rsplit_once(':') {
            Some((contract, function)) if contract == self.name => function,
            Some((contract, _)) => return Err(Error::new(format!("Contract not found with name {contract}"))),
            None => function,
        };
        let call = self
            .functions
            .get(unqualified)
            .ok_or_else(|| Error::new(format!("Function {unqualified} not found in contract {}", self.name)))?;
        call(context, arguments)
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
