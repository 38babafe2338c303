//! How much of a list one answer holds.

use crate::api::error::ApiError;

use super::Path;

/// How large the pages of one method are.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct PageSize {
    default: u16,
    most: u16,
}

/// Pages of users.
pub(in crate::api) const MEMBERS_PAGE: PageSize = PageSize {
    default: 100,
    most: 10_000,
};

/// Pages of the values of a property.
pub(in crate::api) const VALUES_PAGE: PageSize = MEMBERS_PAGE;

/// Pages of properties and of populations.
pub(in crate::api) const CATALOG_PAGE: PageSize = PageSize {
    default: 100,
    most: 1_000,
};

/// The users named in the preview of a segment.
pub(in crate::api) const SAMPLE: PageSize = PageSize {
    default: 10,
    most: 100,
};

impl PageSize {
    /// The size asked for: the default for 0, and never more than the most.
    pub(in crate::api) fn asked(self, page_size: i32) -> Result<usize, ApiError> {
        self.asked_by("page_size", page_size)
    }

    /// The size that a field of this name asks for.
    pub(in crate::api) fn asked_by(
        self,
        field: &'static str,
        page_size: i32,
    ) -> Result<usize, ApiError> {
        match u32::try_from(page_size) {
            Ok(0) => Ok(self.default.into()),
            Ok(asked) => Ok(u16::try_from(asked)
                .map_or(self.most, |asked| asked.min(self.most))
                .into()),
            Err(_) => Err(ApiError::field(
                &Path::Root.field(field),
                format!("expected a number from 0, found {page_size}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_default_and_a_bound() {
        for (asked, given) in [(0, 100), (1, 1), (10_000, 10_000), (i32::MAX, 10_000)] {
            assert_eq!(MEMBERS_PAGE.asked(asked).unwrap(), given);
        }
        assert!(MEMBERS_PAGE.asked(-1).is_err());
    }
}
