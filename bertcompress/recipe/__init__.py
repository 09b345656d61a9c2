"""Recipes: what a run is made from, checked whole before anything starts."""

from bertcompress.recipe.loading import list_recipes, load_recipe
from bertcompress.recipe.operators import TEACHER_SIZED, operators_by_position, teacher_sized_operators
from bertcompress.recipe.schema import Recipe

__all__ = [
    "TEACHER_SIZED",
    "Recipe",
    "list_recipes",
    "load_recipe",
    "operators_by_position",
    "teacher_sized_operators",
]
