//! Holds what each room of `src/` names of the others against the table in ARCHITECTURE.md.
//!
//! A room is a folder (or a file) directly in `src/`. What it names is read from its tokens: `crate::room…`, grouped
//! imports, and `super::…` that climbs out of the room. Test modules may name anything.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    str::FromStr as _,
};

const BASE: [&str; 5] = ["kernel", "vault", "db", "jobs", "audit"];

/// The rooms in the table's order, each with those that it may use; `None` means all.
struct Table(Vec<(String, Option<BTreeSet<String>>)>);

impl Table {
    fn read(markdown: &str) -> Self {
        let rows = markdown.lines().skip_while(|line| !line.starts_with("| room |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|')).flat_map(Self::row).collect();
        Self(rows)
    }

    /// A row may speak of several rooms.
    fn row(line: &str) -> Vec<(String, Option<BTreeSet<String>>)> {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [rooms, _, uses] = cells.as_slice() else { panic!("not three cells: {line}") };
        let uses = (*uses != "all").then(|| {
            let listed = uses.split(',').map(str::trim).filter(|name| *name != "-");
            let rooms = listed.flat_map(|name| if name == "base" { BASE.to_vec() } else { vec![name] });
            rooms.map(str::to_owned).collect::<BTreeSet<_>>()
        });
        let rooms = rooms.split(',').map(|room| room.trim().trim_matches('`').trim_end_matches('/'));
        rooms.map(|room| (room.trim_end_matches(".rs").to_owned(), uses.clone())).collect()
    }

    fn allows(&self, room: &str, other: &str) -> bool {
        let (_, uses) = self.0.iter().find(|(name, _)| name == room).unwrap_or_else(|| panic!("no row for {room}"));
        uses.as_ref().is_none_or(|uses| uses.contains(other))
    }

    fn names(&self) -> BTreeSet<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// What one file names.
#[derive(Default)]
struct Named {
    rooms: BTreeSet<String>,
    /// Modules declared for tests only, in files of their own.
    test_modules: Vec<String>,
}

impl Named {
    /// `depth`: how many modules lie between the crate's root and these tokens.
    fn read(&mut self, tokens: TokenStream, depth: usize) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            index += 1;
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' && is_for_tests(tokens.get(index)) => {
                    index = self.skip_item(&tokens, index + 1);
                }
                TokenTree::Ident(word) if word == "crate" => self.path(&tokens[index..]),
                TokenTree::Ident(word) if word == "super" => {
                    let climbed = 1 + supers(&tokens[index..]);
                    index += 3 * (climbed - 1);
                    if climbed == depth {
                        self.path(&tokens[index..]);
                    }
                }
                TokenTree::Group(group) => {
                    let is_module =
                        matches!(tokens.get(index.wrapping_sub(3)), Some(TokenTree::Ident(word)) if word == "mod");
                    self.read(group.stream(), depth + usize::from(is_module));
                }
                _ => {}
            }
        }
    }

    /// What follows `crate` or the `super` that reached it: `::room…` or `::{room…, room…}`.
    fn path(&mut self, tokens: &[TokenTree]) {
        match tokens {
            [TokenTree::Punct(a), TokenTree::Punct(b), rest @ ..] if (a.as_char(), b.as_char()) == (':', ':') => {
                match rest.first() {
                    Some(TokenTree::Ident(room)) => {
                        self.rooms.insert(room.to_string());
                    }
                    Some(TokenTree::Group(group)) => {
                        let imports: Vec<TokenTree> = group.stream().into_iter().collect();
                        let heads =
                            imports.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','));
                        self.rooms.extend(heads.filter_map(|import| import.first()).map(ToString::to_string));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// The end of the item that begins at `index`: its semicolon or its braces.
    fn skip_item(&mut self, tokens: &[TokenTree], index: usize) -> usize {
        let mut module = None;
        for (offset, token) in tokens[index..].iter().enumerate() {
            match token {
                TokenTree::Ident(word) if word == "mod" => {
                    module = tokens.get(index + offset + 1).map(ToString::to_string);
                }
                TokenTree::Punct(mark) if mark.as_char() == ';' => {
                    self.test_modules.extend(module);
                    return index + offset + 1;
                }
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return index + offset + 1,
                _ => {}
            }
        }
        tokens.len()
    }
}

/// How many more `::super` follow.
fn supers(tokens: &[TokenTree]) -> usize {
    tokens.chunks(3).take_while(|chunk| matches!(chunk, [_, _, TokenTree::Ident(word)] if word == "super")).count()
}

/// Whether an attribute's brackets hold `cfg(test)`, or `cfg(any(test, fuzzing))` as the modules of fuzz targets have it.
fn is_for_tests(attribute: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = attribute else { return false };
    ["cfg(test)", "cfg(any(test,fuzzing))"].contains(&group.stream().to_string().replace(' ', "").as_str())
}

/// What the files of a room name, with the file that does.
fn named_by(room: &Path) -> Vec<(PathBuf, String)> {
    let mut named = Vec::new();
    let mut tests = BTreeSet::new();
    for file in if room.is_dir() { rust_files(room) } else { vec![room.to_owned()] } {
        let module = file.strip_prefix(source()).unwrap().with_extension("");
        let (depth, children) = if module.ends_with("mod") {
            (module.components().count() - 1, file.parent().unwrap().to_owned())
        } else {
            (module.components().count(), file.with_extension(""))
        };
        let mut found = Named::default();
        found.read(TokenStream::from_str(&fs::read_to_string(&file).unwrap()).unwrap(), depth);
        tests.extend(found.test_modules.iter().map(|module| children.join(module)));
        named.extend(found.rooms.into_iter().map(|name| (file.clone(), name)));
    }
    named.retain(|(file, _)| !tests.iter().any(|test| file.with_extension("").starts_with(test)));
    named
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => rust_files(&path),
            Some(extension) if extension == "rs" => vec![path],
            _ => Vec::new(),
        })
        .collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn table() -> Table {
    Table::read(include_str!("../../ARCHITECTURE.md"))
}

/// Every room in `src/`, by name. `fuzzing` is a test module of the whole.
fn rooms() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path));
    named.filter(|(name, _)| name != "lib" && name != "fuzzing").collect()
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let rooms: BTreeSet<String> = rooms().into_keys().collect();
    assert_eq!(rooms, table().names());
}

#[test]
fn a_room_uses_only_what_its_row_names() {
    let (table, rooms) = (table(), rooms());
    let mut broken = Vec::new();
    for (room, path) in &rooms {
        let uses = named_by(path).into_iter().filter(|(_, used)| used != room && rooms.contains_key(used));
        let forbidden = uses.filter(|(_, used)| !table.allows(room, used));
        broken.extend(forbidden.map(|(file, used)| format!("{} uses {used}", file.display())));
    }
    assert!(broken.is_empty(), "not in ARCHITECTURE.md's table:\n{}", broken.join("\n"));
}

/// A row that grants more than is used lets in tomorrow what nobody looked at today.
#[test]
fn a_row_names_only_what_its_room_uses() {
    let (table, rooms) = (table(), rooms());
    let mut unused = Vec::new();
    for (room, uses) in table.0 {
        let named: BTreeSet<String> = named_by(&rooms[&room]).into_iter().map(|(_, used)| used).collect();
        let granted = uses.into_iter().flatten().filter(|granted| !BASE.contains(&granted.as_str()));
        unused.extend(granted.filter(|granted| !named.contains(granted)).map(|granted| format!("{room}: {granted}")));
    }
    assert!(unused.is_empty(), "in ARCHITECTURE.md's table, and not used:\n{}", unused.join("\n"));
}

/// From the ground up: so there is no circle.
#[test]
fn a_row_names_only_rows_above_it() {
    let mut above = BTreeSet::new();
    for (room, uses) in table().0 {
        let below: Vec<_> = uses.iter().flatten().filter(|used| !above.contains(*used)).collect();
        assert!(below.is_empty(), "{room} names {below:?}, which stand further down or nowhere");
        above.insert(room);
    }
}

#[test]
fn what_a_file_names_is_found() {
    let mut named = Named::default();
    let text = r#"
        //! Not crate::comment.
        use crate::kernel::Id;
        use crate::{db::{Db, sql}, jobs};
        use super::super::vault::Vault;
        use super::sibling::Thing;
        fn f() -> crate::audit::Row { let text = "crate::text"; super::other(); }
        mod inner { use super::super::super::access::Role; use super::super::sibling; }
        #[cfg(test)]
        use crate::http::Client;
        #[cfg(test)]
        mod tests { use crate::sandbox::Ehr; }
        #[cfg(test)]
        mod more_tests;
        #[cfg(any(test, fuzzing))]
        pub(crate) mod fuzzing;
    "#;
    named.read(TokenStream::from_str(text).unwrap(), 2);
    let expected = ["access", "audit", "db", "jobs", "kernel", "vault"];
    assert_eq!(named.rooms, expected.map(str::to_owned).into());
    assert_eq!(named.test_modules, ["more_tests", "fuzzing"]);
}
