//! Cuts a filter text into tokens, one at a time.
//!
//! Invariant: each call moves on or has reached the end, and looks at no more than one token.
//! Texts and names are borrowed unless they have doubled quotes in them.

use std::borrow::Cow;

use super::error::Fault;

/// One token and where it is, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A plain name or a keyword.
    Word(&'a str),
    /// What stood between double quotes.
    QuotedName(Cow<'a, str>),
    /// What stood between single quotes.
    Text(Cow<'a, str>),
    /// Digits, maybe with a point or an exponent; never a sign.
    Number(&'a str),
    /// Something that starts with a digit and is no number, such as the span `30d`.
    Suffixed(&'a str),
    /// One of [`SYMBOLS`].
    Symbol(&'static str),
    /// The end of the text.
    End,
}

/// Longer ones first, so that `<=` is not taken for `<`.
const SYMBOLS: [&str; 12] = [
    "!=", "<>", "<=", ">=", "(", ")", ",", "=", "<", ">", "+", "-",
];

/// What people write out of habit from other languages, and what it is here.
const FOREIGN: [(&str, &str, &str); 9] = [
    ("===", "`=`", "write `=` to compare"),
    ("==", "`=`", "write `=` to compare"),
    ("=<", "`<=`", "write `<=`"),
    ("=>", "`>=`", "write `>=`"),
    ("=~", "a comparison", "patterns can't be matched yet"),
    ("&&", "AND", "write AND"),
    ("||", "OR", "write OR"),
    ("!", "NOT", "write NOT"),
    (
        ";",
        "the end of the text",
        "a filter is one expression, without `;`",
    ),
];

#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, Fault> {
        self.skip_space();
        let start = self.position;
        let kind = self.kind()?;
        Ok(Token {
            kind,
            start,
            end: self.position,
        })
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let rest = rest.trim_start();
            let rest = match rest.strip_prefix("--") {
                Some(comment) => comment
                    .find('\n')
                    .and_then(|end| comment.get(end..))
                    .unwrap_or_default(),
                None => rest,
            };
            let position = self.text.len() - rest.len();
            if position == self.position {
                return;
            }
            self.position = position;
        }
    }

    /// Takes the characters from here on that `belongs` accepts.
    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let (taken, _) = rest.split_at(end);
        self.position += end;
        taken
    }

    fn kind(&mut self) -> Result<Kind<'a>, Fault> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Kind::End);
        };
        if first.is_ascii_digit() {
            return Ok(self.number());
        }
        if first.is_alphabetic() || first == '_' {
            return self.word();
        }
        match first {
            '\'' => return self.quoted('\'').map(Kind::Text),
            '"' => return self.quoted('"').map(Kind::QuotedName),
            _ => {}
        }
        // `!=` is ours, a lone `!` is not; `=` is ours, `==` is not.
        if !rest.starts_with("!=")
            && let Some((symbol, expected, help)) =
                FOREIGN.iter().find(|(symbol, ..)| rest.starts_with(symbol))
        {
            return Err(Fault::new(self.position, *expected, quote(symbol)).help(*help));
        }
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.position += symbol.len();
            return Ok(Kind::Symbol(symbol));
        }
        Err(unexpected_character(self.position, first, rest))
    }

    fn word(&mut self) -> Result<Kind<'a>, Fault> {
        let start = self.position;
        let word = self.take_while(|c| c.is_alphanumeric() || c == '_' || c == '.');
        if word.is_ascii() {
            Ok(Kind::Word(word))
        } else {
            Err(
                Fault::new(start, "a name, a value or a keyword", quote(word)).help(
                    format!(
                        "a name with other characters than ASCII letters, digits, `_` and `.` needs double quotes: {}; a text needs single quotes",
                        shorten(&format!("\"{word}\""))
                    ),
                ),
            )
        }
    }

    fn number(&mut self) -> Kind<'a> {
        let start = self.position;
        let digit = |c: char| c.is_ascii_digit();
        self.take_while(digit);
        let mut ahead = self.rest().chars();
        if ahead.next() == Some('.') && ahead.next().is_some_and(digit) {
            self.position += 1;
            self.take_while(digit);
        }
        let mut ahead = self.rest().chars();
        if matches!(ahead.next(), Some('e' | 'E')) {
            let sign_or_digit = ahead.next();
            let signed = matches!(sign_or_digit, Some('+' | '-'));
            let first_digit = if signed { ahead.next() } else { sign_or_digit };
            if first_digit.is_some_and(digit) {
                self.position += if signed { 2 } else { 1 };
                self.take_while(digit);
            }
        }
        let suffix = self.take_while(|c| c.is_alphanumeric() || c == '_' || c == '.');
        let whole = self.text.get(start..self.position).unwrap_or_default();
        if suffix.is_empty() {
            Kind::Number(whole)
        } else {
            Kind::Suffixed(whole)
        }
    }

    /// Takes what stands between two quotes; a doubled quote stands for itself.
    fn quoted(&mut self, quote: char) -> Result<Cow<'a, str>, Fault> {
        let start = self.position;
        let content = self.text.get(start + 1..).unwrap_or_default();
        let mut end = 0;
        let mut doubled = false;
        loop {
            let Some(next) = content.get(end..).and_then(|rest| rest.find(quote)) else {
                return Err(unfinished(start, quote));
            };
            end += next;
            if content
                .get(end + 1..)
                .is_some_and(|rest| rest.starts_with(quote))
            {
                doubled = true;
                end += 2;
            } else {
                break;
            }
        }
        self.position = start + 1 + end + 1;
        let content = content.get(..end).unwrap_or_default();
        Ok(if doubled {
            let (two, one) = if quote == '"' {
                ("\"\"", "\"")
            } else {
                ("''", "'")
            };
            Cow::Owned(content.replace(two, one))
        } else {
            Cow::Borrowed(content)
        })
    }
}

fn unfinished(start: usize, quote: char) -> Fault {
    let (expected, help) = if quote == '"' {
        (
            "a closing `\"` for the name that starts here",
            "a `\"` within a name is written twice",
        )
    } else {
        (
            "a closing `'` for the text that starts here",
            "a `'` within a text is written twice: 'it''s'",
        )
    };
    Fault::new(start, expected, "the end of the text").help(help)
}

fn unexpected_character(offset: usize, character: char, rest: &str) -> Fault {
    let fault = Fault::new(
        offset,
        "a name, a value or a keyword",
        format!("the character {character:?}"),
    );
    match character {
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{b4}' => {
            fault.help("texts need straight single quotes: 'like this'")
        }
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => fault
            .help("texts need straight single quotes, 'like this'; names straight double quotes"),
        '`' | '[' => fault.help("names that are not plain need double quotes: \"like this\""),
        '.' if rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit()) => {
            fault.help("a number starts with a digit: 0.5")
        }
        '\u{2264}' => fault.help("write `<=`"),
        '\u{2265}' => fault.help("write `>=`"),
        '\u{2260}' => fault.help("write `!=`"),
        '\u{2212}' | '\u{2013}' | '\u{2014}' => fault.help("write a plain `-`"),
        '/' if rest.starts_with("/*") || rest.starts_with("//") => {
            fault.help("comments start with `--` and end with the line")
        }
        '#' => fault.help("comments start with `--` and end with the line"),
        _ => fault,
    }
}

/// Quotes a piece of the text for a message.
pub(super) fn quote(piece: &str) -> String {
    format!("`{}`", shorten(piece))
}

/// Makes a piece of the text fit into a message: not long, one line.
pub(super) fn shorten(piece: &str) -> String {
    /// The most characters of the text that a message repeats at once.
    const LONGEST: usize = 40;

    let mut short: String = piece
        .chars()
        .take(LONGEST)
        .flat_map(|c| {
            let escaped: Box<dyn Iterator<Item = char>> = if c.is_control() {
                Box::new(c.escape_default())
            } else {
                Box::new(std::iter::once(c))
            };
            escaped
        })
        .collect();
    if piece.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}

impl Kind<'_> {
    /// Describes the token as something that was found.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => quote(word),
            Self::QuotedName(name) => format!("the name \"{}\"", shorten(name)),
            Self::Text(text) => format!("the text '{}'", shorten(text)),
            Self::Number(number) => format!("the number {}", shorten(number)),
            Self::Suffixed(piece) => quote(piece),
            Self::Symbol(symbol) => quote(symbol),
            Self::End => "the end of the text".into(),
        }
    }

    /// Whether it is this keyword, in whatever case.
    pub(super) fn is_word(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }
}
