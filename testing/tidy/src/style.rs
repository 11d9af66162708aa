//! What a reader can take in at once.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, FnArg, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemTrait, Meta, Signature, TraitItemFn, Type,
    Visibility,
};

/// The longest function, in lines of code: blank lines and lines of comment are not counted.
pub const MAX_FUNCTION_LINES: usize = 70;

/// A function that breaks a rule of style for a reason.
#[derive(Debug)]
pub struct Exception {
    /// The file it is in.
    pub path: &'static str,
    /// Its name.
    pub function: &'static str,
    /// Why it may.
    pub reason: &'static str,
}

/// Functions that may be longer than [`MAX_FUNCTION_LINES`].
pub const LONG_FUNCTIONS: &[Exception] = &[];

/// Functions of public interfaces that may take a boolean.
pub const BOOLEAN_PARAMETERS: &[Exception] = &[];

/// A function as it stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line on which it begins.
    pub line: usize,
    /// Its lines of code, from `fn` to the brace at the end.
    pub lines: usize,
    /// The parameters that are plain booleans.
    pub booleans: Vec<String>,
    /// Whether others may call it.
    pub is_public: bool,
}

/// The functions of a file, those for tests left out.
///
/// # Errors
/// The text is no Rust.
pub fn functions(text: &str) -> syn::Result<Vec<Function>> {
    let file = syn::parse_file(text)?;
    let code = text.lines().map(str::trim).map(|line| !line.is_empty() && !line.starts_with("//")).collect();
    let mut reader = Reader { code, found: Vec::new(), place: Place::Free };
    reader.visit_file(&file);
    Ok(reader.found)
}

/// Whether a file holds tests only.
pub fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("/simulation") && path.contains("rules/")
}

/// What the functions of an `impl` or a `trait` have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Each says itself whether it is public.
    Free,
    /// They are as public as their trait.
    PublicTrait,
    /// They are private, or another place fixed their parameters.
    Given,
}

struct Reader {
    /// For each line of the file, whether it is code.
    code: Vec<bool>,
    found: Vec<Function>,
    place: Place,
}

impl Reader {
    fn take(&mut self, signature: &Signature, body: Option<&Block>, visibility: Option<&Visibility>) {
        let line = signature.span().start().line;
        let end = body.map_or(signature.span(), |body| body.brace_token.span.close()).end().line;
        let is_public = match self.place {
            Place::Free => visibility.is_some_and(|visibility| !matches!(visibility, Visibility::Inherited)),
            Place::PublicTrait => true,
            Place::Given => false,
        };
        self.found.push(Function {
            name: signature.ident.to_string(),
            line,
            lines: self.code.get(line - 1..end).unwrap_or_default().iter().filter(|code| **code).count(),
            booleans: signature.inputs.iter().filter_map(boolean).collect(),
            is_public,
        });
    }

    fn inside(&mut self, place: Place, look: impl FnOnce(&mut Self)) {
        let outside = std::mem::replace(&mut self.place, place);
        look(self);
        self.place = outside;
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if !is_for_tests(&item.attrs) {
            let place = if item.trait_.is_some() { Place::Given } else { Place::Free };
            self.inside(place, |reader| visit::visit_item_impl(reader, item));
        }
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        let place = if matches!(item.vis, Visibility::Inherited) { Place::Given } else { Place::PublicTrait };
        self.inside(place, |reader| visit::visit_item_trait(reader, item));
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_for_tests(&item.attrs) {
            self.take(&item.sig, Some(&item.block), Some(&item.vis));
            self.inside(Place::Free, |reader| visit::visit_item_fn(reader, item));
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            self.take(&item.sig, Some(&item.block), Some(&item.vis));
            self.inside(Place::Free, |reader| visit::visit_impl_item_fn(reader, item));
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.take(&item.sig, item.default.as_ref(), None);
        self.inside(Place::Free, |reader| visit::visit_trait_item_fn(reader, item));
    }
}

/// The name of a parameter that is a plain boolean.
fn boolean(argument: &FnArg) -> Option<String> {
    let FnArg::Typed(argument) = argument else { return None };
    let Type::Path(path) = &*argument.ty else { return None };
    if !path.path.is_ident("bool") {
        return None;
    }
    Some(match &*argument.pat {
        syn::Pat::Ident(name) => name.ident.to_string(),
        _ => "_".to_owned(),
    })
}

/// `#[test]` and its relatives, and `#[cfg(test)]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        meta => meta.path().segments.last().is_some_and(|last| last.ident == "test"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_without_blank_lines_and_comments_and_those_of_tests_are_left_out() {
        let text = "
            pub(crate) fn one(on: bool, off: Option<bool>) {

                // Why.
                two();
            }
            trait Quiet { fn a(&self, on: bool); }
            pub trait Loud { fn b(&self, on: bool) {} }
            impl Loud for () { fn b(&self, on: bool) {} }
            impl S {
                pub fn c(self) -> bool { true }
            }
            #[cfg(test)]
            mod tests { pub fn d(on: bool) {} }
            #[tokio::test]
            async fn e(on: bool) {}
        ";
        let found = functions(text).unwrap();
        let short: Vec<_> =
            found.iter().map(|f| (f.name.as_str(), f.line, f.lines, f.booleans.len(), f.is_public)).collect();
        assert_eq!(
            short,
            [
                ("one", 2, 3, 1, true),
                ("a", 7, 1, 1, false),
                ("b", 8, 1, 1, true),
                ("b", 9, 1, 1, false),
                ("c", 11, 1, 0, true),
            ]
        );
    }
}
