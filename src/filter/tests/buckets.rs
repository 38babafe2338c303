//! Good and bad tests of buckets.

use proptest::prelude::*;

use super::{parse, printed, refused};
use crate::filter::caret;
use crate::model::{BucketPredicate, BucketTest, Buckets, Comparison, Expression, NonEmpty, Salt};

/// What is written, and the same as it is printed.
#[rustfmt::skip]
const GOOD: &[(&str, &str)] = &[
    ("bucket('spring-test', 100) < 10",
     "bucket('spring-test', 100) < 10"),
    ("BUCKET ( '' , 1 )=0",
     "bucket('', 1) = 0"),
    ("bucket('it''s', 1000000) <> 999999 AND NOT bucket('a', 2) >= 2",
     "bucket('it''s', 1000000) != 999999 AND NOT bucket('a', 2) >= 2"),
    ("bucket('a', 10) between 2 and 4 or bucket('a', 10) > 8",
     "(bucket('a', 10) >= 2 AND bucket('a', 10) <= 4) OR bucket('a', 10) > 8"),
    ("bucket('a', 10) NOT BETWEEN 2 AND 4",
     "NOT (bucket('a', 10) >= 2 AND bucket('a', 10) <= 4)"),
    ("bucket('a', 10) in (3, 1, 3)",
     "bucket('a', 10) IN (3, 1, 3)"),
    ("bucket('a', 10) NOT IN (0)",
     "bucket('a', 10) NOT IN (0)"),
    ("bucket < 10 AND bucket = 'a'",
     "bucket < 10 AND bucket = 'a'"),
];

/// What is written, and the error.
#[rustfmt::skip]
const BAD: &[(&str, &str)] = &[
    ("bucket(",
     "line 1, column 8: expected a salt in single quotes, found the end of the text; for example bucket('spring-test', 100) < 10"),
    ("bucket(spring, 100) < 10",
     "line 1, column 8: expected a salt in single quotes, found `spring`; for example bucket('spring-test', 100) < 10"),
    ("bucket('a') < 10",
     "line 1, column 11: expected `,` and the number of buckets, found `)`; for example bucket('spring-test', 100) < 10"),
    ("bucket('a', 0) < 10",
     "line 1, column 13: expected a number of buckets of at least 1, found the number 0"),
    ("bucket('a', 1000001) < 10",
     "line 1, column 13: 1000001 buckets are more than the limit buckets allows (1000000)"),
    ("bucket('a', 0.5) < 10",
     "line 1, column 13: expected a whole number of at least 0, found the number 0.5"),
    ("bucket('a', 100",
     "line 1, column 16: expected `)`, found the end of the text"),
    ("bucket('a', 100)",
     "line 1, column 17: expected a comparison such as `<`, `=`, IN or BETWEEN, found the end of the text; a bucket alone is no test: for example bucket('spring-test', 100) < 10"),
    ("bucket('a', 100) BETWEN 1 AND 2",
     "line 1, column 18: expected a comparison such as `<`, `=`, IN or BETWEEN, found `BETWEN`; did you mean BETWEEN?"),
    ("bucket('a', 100) NOT = 1",
     "line 1, column 22: expected IN or BETWEEN, found `=`; write `!=`"),
    ("bucket('a', 100) = 100",
     "line 1, column 20: expected the number of a bucket, 0 to 99, found the number 100"),
    ("bucket('a', 100) < 101",
     "line 1, column 20: expected the number of a bucket, 0 to 99, found the number 101"),
    ("bucket('a', 100) < -1",
     "line 1, column 20: expected a whole number of at least 0, found `-`"),
    ("bucket('a', 100) == 1",
     "line 1, column 18: expected `=`, found `==`; write `=` to compare"),
    ("bucket('a', 100) IN (1, 100)",
     "line 1, column 25: expected the number of a bucket, 0 to 99, found the number 100"),
    ("bucket('a', 100) IN ()",
     "line 1, column 22: expected the number of a bucket, found `)`; an empty list is an error: it would select nobody"),
    ("bucket('a', 100) BETWEEN 1 OR 2",
     "line 1, column 28: expected AND and the upper bound, found `OR`; both bounds belong to it: bucket('test', 100) BETWEEN 10 AND 19"),
    ("bucket('a\0b', 100) < 1",
     "line 1, column 8: expected a salt without NUL, found a salt with one"),
    ("sample(10) < 5",
     "line 1, column 1: expected a property, found `sample`; users are divided by bucket: for example bucket('spring-test', 100) < 10"),
];

#[test]
fn good_tests_of_buckets_are_read_and_printed() {
    for (text, expected) in GOOD {
        assert_eq!(printed(text), *expected, "{text}");
        assert_eq!(printed(expected), *expected, "{text}");
    }
}

#[test]
fn bad_tests_of_buckets_say_what_is_wrong() {
    for (text, expected) in BAD {
        assert_eq!(refused(text), *expected, "{text}");
    }
    assert_eq!(
        refused(&format!("bucket('{}', 10) < 1", "x".repeat(257))),
        "line 1, column 8: 257 bytes are more than the limit salt_bytes allows (256)"
    );
}

#[test]
fn a_test_of_a_bucket_is_what_was_written() {
    let buckets = Buckets::new(100).unwrap();
    let of = |test| {
        let salt = Salt::new("it's").unwrap();
        Expression::Bucket(Box::new(BucketPredicate::new(salt, buckets, test)))
    };
    let less = BucketTest::Compare(Comparison::Less, 10);
    assert_eq!(parse("bucket('it''s', 100) < 10"), Ok(of(less)));
    let listed = BucketTest::In {
        numbers: NonEmpty::new(vec![7, 3]).unwrap(),
        negated: true,
    };
    assert_eq!(parse("bucket('it''s', 100) NOT IN (7, 3)"), Ok(of(listed)));
}

proptest! {
    #![proptest_config(super::cases())]

    #[test]
    fn a_good_test_with_mistakes_has_an_answer(
        choice in 0..GOOD.len(),
        at in any::<proptest::sample::Index>(),
        with in any::<char>(),
    ) {
        let mut characters: Vec<char> = GOOD[choice].0.chars().collect();
        let at = at.index(characters.len());
        for change in 0..4 {
            match change {
                0 => characters.insert(at, with),
                1 => drop(characters.remove(at)),
                2 => characters[at] = with,
                _ => characters.truncate(at),
            }
            let text: String = characters.iter().collect();
            match parse(&text) {
                Ok(expression) => {
                    prop_assert_eq!(parse(&expression.to_string()), Ok(expression));
                }
                Err(error) => drop(caret(&text, error.line(), error.column())),
            }
        }
    }
}
